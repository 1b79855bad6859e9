"""Problems to try solvers on."""
