#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "objectives/aligned_buffer.h"
#include "objectives/concrete_function.h"
#include "objectives/host_function.h"
#include "tfe/tfe_api.h"

namespace tfminimize {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string error_of_loading(const std::string& library) {
  try {
    TfeApi::load(library);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST(AlignedBuffer, StartsAtAMultipleOf64AndHoldsZeros) {
  for (const std::size_t size : {0UL, 1UL, 7UL, 1000UL}) {
    const AlignedBuffer<double> buffer(size);
    EXPECT_TRUE(is_aligned(buffer.data()));
    EXPECT_EQ(buffer.size(), size);
    EXPECT_TRUE(std::all_of(buffer.span().begin(), buffer.span().end(), [](double value) { return value == 0; }));
  }
}

TEST(AlignedBuffer, MoreThanMemoryIsBadAlloc) {
  EXPECT_THROW(AlignedBuffer<double>(std::numeric_limits<std::size_t>::max() / 4), std::bad_alloc);
}

TEST(HostFunction, EvaluatesTheFunction) {
  HostFunction function([](Span<const double> x, Span<double> g) {
    g[0] = 2 * x[0];
    return x[0] * x[0];
  });
  const double x = 3;
  double g = 0;
  EXPECT_EQ(function.evaluate({&x, 1}, {&g, 1}), 9.0);
  EXPECT_EQ(g, 6.0);
}

TEST(HostFunction, NeedsAFunction) { EXPECT_THROW(HostFunction(nullptr), std::invalid_argument); }

TEST(TfeApi, LibraryThatIsNotLoadedIsNamed) {
  EXPECT_THAT(error_of_loading("libtensorflow_nowhere.so.2"),
              AllOf(HasSubstr("libtensorflow_nowhere.so.2"), HasSubstr("import tensorflow first")));
}

TEST(TfeApi, MissingSymbolIsNamed) {
  EXPECT_THAT(error_of_loading("libc.so.6"), AllOf(HasSubstr("libc.so.6"), HasSubstr("TF_NewStatus")));
}

TEST(Component, ElementCountIsTheProductOfTheShape) {
  EXPECT_EQ(element_count({0, {}, TF_DOUBLE, nullptr}), 1U);
  EXPECT_EQ(element_count({8, {3, 4}, TF_FLOAT, nullptr}), 12U);
  EXPECT_EQ(element_count({8, {3, 0}, TF_FLOAT, nullptr}), 0U);
}

TEST(Component, WhatCannotBePassedIsRefused) {
  const std::int64_t large = std::int64_t{1} << 62;
  EXPECT_THROW(element_count({4, {3}, TF_DOUBLE, nullptr}), std::invalid_argument);
  EXPECT_THROW(element_count({0, {-1}, TF_DOUBLE, nullptr}), std::invalid_argument);
  EXPECT_THROW(element_count({0, {large, 8}, TF_DOUBLE, nullptr}), std::invalid_argument);
  EXPECT_THROW(element_count({static_cast<std::size_t>(large), {1}, TF_DOUBLE, nullptr}), std::invalid_argument);
  EXPECT_THROW(element_count({0, {3}, TF_INT32, nullptr}), std::invalid_argument);
}

}  // namespace
}  // namespace tfminimize
