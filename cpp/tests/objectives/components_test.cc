#include "objectives/components.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <stdexcept>

namespace tfminimize {
namespace {

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
