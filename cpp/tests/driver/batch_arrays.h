#ifndef TFMINIMIZE_TESTS_DRIVER_BATCH_ARRAYS_H_
#define TFMINIMIZE_TESTS_DRIVER_BATCH_ARRAYS_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "driver/batch.h"

namespace tfminimize::testing {

/// The memory of the rows of a batch of problems without constraints.
struct BatchArrays {
  /// `starts` has a row of `size` elements for each problem.
  BatchArrays(std::vector<double> starts, std::size_t size) : x(std::move(starts)), gradient(x.size()) {
    const std::size_t count = x.size() / size;
    fun.resize(count);
    violation.assign(count, 7.0);
    nit.resize(count);
    nfev.resize(count);
    njev.resize(count);
    status.resize(count);
    message.resize(count);
  }

  BatchRows rows() {
    BatchRows rows;
    rows.x = x;
    rows.gradient = gradient;
    rows.fun = fun;
    rows.constr_violation = violation;
    rows.nit = nit;
    rows.nfev = nfev;
    rows.njev = njev;
    rows.status = status;
    rows.message = message;
    rows.histories = histories;
    return rows;
  }

  std::vector<double> x;
  std::vector<double> gradient;
  std::vector<double> fun;
  std::vector<double> violation;
  std::vector<std::int64_t> nit;
  std::vector<std::int64_t> nfev;
  std::vector<std::int64_t> njev;
  std::vector<std::int64_t> status;
  std::vector<const char*> message;
  std::vector<History> histories;
};

}  // namespace tfminimize::testing

#endif  // TFMINIMIZE_TESTS_DRIVER_BATCH_ARRAYS_H_
