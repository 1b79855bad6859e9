#ifndef TFMINIMIZE_TESTS_SOLVERS_RECORDED_BITS_H_
#define TFMINIMIZE_TESTS_SOLVERS_RECORDED_BITS_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace tfminimize::solvers::testing {

/// A checksum of all that a test computes, as the property "bits" in the report of the test. Another processor must
/// give the same; the workflow "aarch64" compares the reports.
class RecordedBits {
 public:
  RecordedBits() = default;
  RecordedBits(const RecordedBits&) = delete;
  RecordedBits& operator=(const RecordedBits&) = delete;
  ~RecordedBits() { ::testing::Test::RecordProperty("bits", std::to_string(sum_)); }

  template <typename Numbers>
  void add(const Numbers& numbers) {
    for (const auto& number : numbers) {
      std::uint64_t word;
      static_assert(sizeof word == sizeof number);
      std::memcpy(&word, &number, sizeof word);
      sum_ = (sum_ ^ word) * kPrime;
    }
  }

 private:
  static constexpr std::uint64_t kPrime = 1099511628211U;

  std::uint64_t sum_ = 14695981039346656037U;
};

}  // namespace tfminimize::solvers::testing

#endif  // TFMINIMIZE_TESTS_SOLVERS_RECORDED_BITS_H_
