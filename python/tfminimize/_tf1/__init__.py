"""The interface of TensorFlow 1 to optimisers of other libraries."""
