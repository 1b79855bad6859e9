#include "objectives/data_sum.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "solvers/threads.h"

namespace tfminimize {
namespace {

std::vector<Output> outputs_of(const Components& components, bool has_gradient, std::size_t num_sums) {
  std::vector<Output> result{{"loss", TF_DOUBLE, 1}};
  for (std::size_t i = 0; has_gradient && i < components.count(); ++i) {
    result.push_back({"gradient of component " + std::to_string(i), components.dtype(i), components.size(i)});
  }
  if (num_sums > 0) result.push_back({"vector of sums", TF_DOUBLE, num_sums});
  return result;
}

void check(const Batches& batches, const std::vector<DataTensor>& data, const std::vector<BatchFunctions>& functions) {
  if (batches.rows == 0 || batches.size == 0) {
    throw std::invalid_argument("There are " + std::to_string(batches.rows) + " rows, in batches of " +
                                std::to_string(batches.size) + "; both must be at least 1.");
  }
  for (const DataTensor& one : data) {
    if (one.tensor.bytes % batches.rows != 0) {
      throw std::invalid_argument("The data for input " + std::to_string(one.position) + " have " +
                                  std::to_string(one.tensor.bytes) + " bytes, which is not a multiple of their " +
                                  std::to_string(batches.rows) + " rows.");
    }
  }
  if (functions.empty() || functions.size() > 2) {
    throw std::invalid_argument("The functions are " + std::to_string(functions.size()) +
                                "; there must be one or two.");
  }
  for (const BatchFunctions& one : functions) {
    if (!one.batch || static_cast<bool>(one.last) != (batches.remainder() > 0) || batches.num_whole() == 0) {
      throw std::invalid_argument("The functions do not fit batches of " + std::to_string(batches.size) + " of " +
                                  std::to_string(batches.rows) + " rows.");
    }
    if (static_cast<bool>(one.penalty) != static_cast<bool>(functions.front().penalty)) {
      throw std::invalid_argument("Only one of two functions has a penalty.");
    }
  }
}

}  // namespace

FunctionCopies::FunctionCopies(MakeFunction make, std::vector<Output> outputs, Components& components,
                               std::vector<BatchedInput> data)
    : make_(std::move(make)), outputs_(std::move(outputs)), components_(components), data_(std::move(data)) {
  grow(1);
}

void FunctionCopies::grow(std::size_t count) {
  while (copies_.size() < count) {
    std::unique_ptr<CompiledFunction> copy = make_(components_, outputs_);
    for (const auto& [position, tensor] : replaced_) copy->set_input(position, tensor);
    copy->begin_batch(data_);
    copies_.push_back(std::move(copy));
  }
}

void FunctionCopies::set_input(std::size_t position, const InputTensor& tensor) {
  for (const auto& copy : copies_) copy->set_input(position, tensor);
  replaced_[position] = tensor;
}

void FunctionCopies::set_data(std::vector<BatchedInput> data) {
  data_ = std::move(data);
  for (const auto& copy : copies_) {
    copy->end_batch();
    copy->begin_batch(data_);
  }
}

DataSum::DataSum(std::vector<Component> components, const Batches& batches, std::vector<DataTensor> data,
                 std::vector<BatchFunctions> functions)
    : components_(std::move(components)), batches_(batches), data_(std::move(data)), sums_(batches.num_sums) {
  check(batches_, data_, functions);
  passes_.reserve(functions.size());  // numbered_ has pointers into it
  for (BatchFunctions& one : functions) {
    const bool has_gradient = &one == &functions.back();
    const std::vector<Output> outputs = outputs_of(components_, has_gradient, batches_.num_sums);
    passes_.push_back({{std::move(one.batch), outputs, components_, slices(false)}, {}, {}, has_gradient});
    Pass& pass = passes_.back();
    if (one.last) pass.last.emplace(std::move(one.last), outputs, components_, slices(true));
    if (one.penalty) {
      pass.penalty.emplace(std::move(one.penalty), outputs_of(components_, has_gradient, 0), components_,
                           slices(false));
    }
  }
  for (Pass& pass : passes_) numbered_.push_back(&pass.batch);
  for (Pass& pass : passes_) {
    if (pass.last) numbered_.push_back(&*pass.last);
  }
  for (Pass& pass : passes_) {
    if (pass.penalty) numbered_.push_back(&*pass.penalty);
  }
}

/// The data as inputs of the function of a batch, or of the last one.
std::vector<BatchedInput> DataSum::slices(bool of_last) const {
  std::vector<BatchedInput> result;
  for (const auto& [position, tensor] : data_) {
    const std::size_t row = tensor.bytes / batches_.rows;
    BatchedInput slice;
    slice.position = position;
    slice.dtype = tensor.dtype;
    slice.bytes = row * (of_last ? batches_.remainder() : batches_.size);
    slice.count = of_last ? 1 : batches_.num_whole();
    slice.data =
        static_cast<const std::byte*>(tensor.value.get()) + (of_last ? row * batches_.size * batches_.num_whole() : 0);
    slice.owner = tensor.value;
    result.push_back(std::move(slice));
  }
  return result;
}

std::size_t DataSum::num_threads() const { return std::min(solvers::num_threads(), batches_.count()); }

void DataSum::set_input(std::size_t position, const InputTensor& tensor) {
  const auto found =
      std::find_if(data_.begin(), data_.end(), [&](const auto& one) { return one.position == position; });
  if (found == data_.end()) {
    for (const FunctionCopies* function : numbered_) function->check_input(position, tensor);
    for (FunctionCopies* function : numbered_) function->set_input(position, tensor);
    return;
  }
  if (found->tensor.dtype != tensor.dtype || found->tensor.bytes != tensor.bytes) {
    throw std::invalid_argument("The data for input " + std::to_string(position) +
                                " have another dtype or size than those that they replace.");
  }
  found->tensor = tensor;
  for (Pass& pass : passes_) {
    pass.batch.set_data(slices(false));
    if (pass.last) pass.last->set_data(slices(true));
    if (pass.penalty) pass.penalty->set_data(slices(false));
  }
}

void DataSum::set_input(std::size_t position, const InputTensor& tensor, std::size_t function) {
  numbered_.at(function)->check_input(position, tensor);
  numbered_[function]->set_input(position, tensor);
}

/// Memory for results that wait for their turn.
constexpr std::size_t kBytesToWait = std::size_t{8} << 20;

/// One evaluation: what its threads share.
class DataSum::Evaluation {
 public:
  /// `total` is memory for the sum of the gradients; empty for values alone.
  Evaluation(const DataSum& parent, const Pass& pass, Span<const double> x, Span<double> total,
             std::vector<Waiting>& places)
      : parent_(parent),
        batches_(parent.batches_),
        pass_(pass),
        x_(x),
        total_(total),
        sums_(batches_.num_sums),
        places_(places) {
    for (Waiting& place : places_) place.is_taken = false;
  }

  /// The work of one thread, which has a copy of the function of its own.
  void work(std::size_t thread) {
    const std::size_t count = batches_.count();
    for (std::size_t batch = next_++; batch < count; batch = next_++) {
      try {
        if (!call(batch, thread)) return;
      } catch (...) {
        fail(batch, std::current_exception());
        return;
      }
    }
  }

  /// Ends the sums with the penalty, writes them and returns the loss. Throws what a thread has thrown.
  double finish(Span<double> gradient, std::vector<double>& sums) {
    if (error_) std::rethrow_exception(error_);
    const double divisor = batches_.is_mean ? static_cast<double>(batches_.rows) : 1;
    double loss = loss_ / divisor;
    std::optional<CompiledFunction::Call> penalty;
    if (pass_.penalty) {
      (*pass_.penalty)[0].select(0);
      penalty.emplace((*pass_.penalty)[0], x_);
      loss += penalty->scalar(0);
    }
    for_each_component([&](std::size_t i, const double* total, std::size_t size) {
      double* const target = gradient.data() + parent_.components_.offset(i);
      for (std::size_t j = 0; j < size; ++j) target[j] = total[j] / divisor;
      if (penalty) add(*penalty, i, 1, target);
    });
    std::swap(sums, sums_);
    return loss;
  }

 private:
  /// False if the evaluation has failed in another thread.
  bool call(std::size_t batch, std::size_t thread) {
    check_time();
    const bool is_last = batch == batches_.num_whole();
    CompiledFunction& function = is_last ? (*pass_.last)[0] : pass_.batch[thread];
    function.select(is_last ? 0 : batch);
    const CompiledFunction::Call call(function, x_);
    return hand_in(call, batch, is_last ? batches_.remainder() : batches_.size, function.num_outputs() - 1);
  }

  /// Adds a batch if it is its turn, and then those that were waiting for it. Otherwise leaves its results in a free
  /// place or, if all are taken, waits for its turn. So a thread that the system pauses does not hold up the others.
  bool hand_in(const CompiledFunction::Call& call, std::size_t batch, std::size_t rows, std::size_t last_output) {
    std::unique_lock<std::mutex> lock(mutex_);
    Waiting* place = nullptr;
    turned_.wait(lock, [&] { return turn_ == batch || error_ || (place = free_place()) != nullptr; });
    if (error_) return false;
    if (turn_ != batch) {
      leave(call, batch, rows, last_output, *place);
      return true;
    }
    add(call, rows, last_output);
    ++turn_;
    while (Waiting* next = waiting(turn_)) {
      add(*next);
      next->is_taken = false;
      ++turn_;
    }
    turned_.notify_all();
    return true;
  }

  void check_time() const {
    if (parent_.is_cancelled_.load(std::memory_order_relaxed)) {
      throw std::runtime_error("The evaluation was cancelled between two batches.");
    }
    if (parent_.deadline_ != kNever && std::chrono::steady_clock::now() >= parent_.deadline_) throw DeadlinePassed();
  }

  void fail(std::size_t batch, std::exception_ptr error) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!error_ || batch < failed_) {
      error_ = std::move(error);
      failed_ = batch;
    }
    turned_.notify_all();
  }

  Waiting* free_place() const {
    const auto found = std::find_if(places_.begin(), places_.end(), [](const Waiting& one) { return !one.is_taken; });
    return found == places_.end() ? nullptr : &*found;
  }

  /// The results of a batch that wait, or null.
  Waiting* waiting(std::size_t batch) const {
    const auto found = std::find_if(places_.begin(), places_.end(),
                                    [=](const Waiting& one) { return one.is_taken && one.batch == batch; });
    return found == places_.end() ? nullptr : &*found;
  }

  double weight(std::size_t rows) const { return batches_.is_mean ? static_cast<double>(rows) : 1; }

  /// Copies the results of a batch to a place.
  void leave(const CompiledFunction::Call& call, std::size_t batch, std::size_t rows, std::size_t last_output,
             Waiting& place) const {
    place.is_taken = true;
    place.batch = batch;
    place.rows = rows;
    place.loss = call.scalar(0);
    if (place.gradient.size() < total_.size()) place.gradient = solvers::AlignedArray<double>(total_.size());
    for_each_component([&](std::size_t i, const double* total, std::size_t /*size*/) {
      call.copy(1 + i, place.gradient.data() + (total - total_.data()));
    });
    place.sums.assign(sums_.size(), 0.0);
    if (!sums_.empty()) call.copy(last_output, place.sums.data());
  }

  /// Adds a batch, whose turn it is.
  void add(const CompiledFunction::Call& call, std::size_t rows, std::size_t last_output) {
    loss_ += weight(rows) * call.scalar(0);
    for_each_component([&](std::size_t i, double* total, std::size_t size) {
      if (turn_ == 0) std::fill_n(total, size, 0.0);
      add(call, i, weight(rows), total);
    });
    if (sums_.empty()) return;
    call.read(last_output, [&](const auto* source) { add(source, sums_.size(), 1, sums_.data()); });
  }

  /// The same for results that have waited.
  void add(const Waiting& place) {
    loss_ += weight(place.rows) * place.loss;
    for_each_component([&](std::size_t /*i*/, double* total, std::size_t size) {
      add(place.gradient.data() + (total - total_.data()), size, weight(place.rows), total);
    });
    add(place.sums.data(), sums_.size(), 1, sums_.data());
  }

  /// Adds the gradient by component i to `target`.
  void add(const CompiledFunction::Call& call, std::size_t i, double weight, double* target) const {
    const std::size_t size = parent_.components_.size(i);
    call.read(1 + i, [=](const auto* source) { add(source, size, weight, target); });
  }

  template <typename Number>
  static void add(const Number* source, std::size_t size, double weight, double* target) {
    for (std::size_t j = 0; j < size; ++j) target[j] += weight * static_cast<double>(source[j]);
  }

  /// Calls change(i, segment of the total, size) for each component, if there is a gradient.
  template <typename Change>
  void for_each_component(const Change& change) const {
    if (total_.empty()) return;
    const Components& components = parent_.components_;
    for (std::size_t i = 0; i < components.count(); ++i) {
      change(i, total_.data() + components.offset(i), components.size(i));
    }
  }

  const DataSum& parent_;
  const Batches& batches_;
  const Pass& pass_;
  const Span<const double> x_;
  const Span<double> total_;
  std::atomic<std::size_t> next_{0};

  std::mutex mutex_;  ///< Guards all that follows.
  std::condition_variable turned_;
  std::size_t turn_ = 0;      ///< The batch to be added next.
  std::exception_ptr error_;  ///< Of the first batch that has failed.
  std::size_t failed_ = 0;    ///< That batch.

  double loss_ = 0;
  std::vector<double> sums_;
  std::vector<Waiting>& places_;
};

double DataSum::add_up(Pass& pass, Span<const double> x, Span<double> gradient) {
  components_.check_size(pass.has_gradient && !gradient.empty() ? std::min(x.size(), gradient.size()) : x.size());
  components_.stage(x);
  const std::size_t threads = num_threads();
  pass.batch.grow(threads);
  is_cancelled_.store(false, std::memory_order_relaxed);
  if (!gradient.empty() && total_.size() < gradient.size()) total_ = solvers::AlignedArray<double>(gradient.size());
  const std::size_t bytes = std::max<std::size_t>((gradient.size() + sums_.size()) * sizeof(double), 1);
  waiting_.resize(std::min({kBytesToWait / bytes, 4 * threads, batches_.count()}));
  Evaluation evaluation(*this, pass, x, {total_.data(), gradient.size()}, waiting_);
  const auto work = [](const void* context, std::size_t thread) {
    static_cast<Evaluation*>(const_cast<void*>(context))->work(thread);
  };
  solvers::run_in_threads(threads, work, &evaluation, 2);
  return evaluation.finish(gradient, sums_);
}

}  // namespace tfminimize
