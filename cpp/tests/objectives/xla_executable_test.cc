#include "objectives/xla_executable.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "objectives/aligned_buffer.h"
#include "objectives/constrained_xla_executable.h"

namespace tfminimize {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// What a test has a program do with its arguments and results.
using Body = void (*)(const std::vector<const void*>& arguments, const std::vector<void*>& results);

class FakeCall final : public XlaCall {
 public:
  FakeCall(Body body, std::size_t num_arguments, std::size_t num_results)
      : body_(body), arguments_(num_arguments), results_(num_results) {}
  void set_argument(std::size_t index, const void* data) override { arguments_.at(index) = data; }
  void set_result(std::size_t index, void* data) override { results_.at(index) = data; }
  void run() override { body_(arguments_, results_); }

 private:
  Body body_;
  std::vector<const void*> arguments_;
  std::vector<void*> results_;
};

class FakeProgram final : public XlaProgram {
 public:
  FakeProgram(Body body, std::vector<XlaArray> parameters, std::vector<XlaArray> results)
      : XlaProgram(std::move(parameters), std::move(results)), body_(body) {}
  std::unique_ptr<XlaCall> call(bool /*use_thread_pool*/) override {
    return std::make_unique<FakeCall>(body_, parameters().size(), results().size());
  }

 private:
  Body body_;
};

XlaArray doubles(std::size_t size) { return {"float64", size * sizeof(double)}; }

XlaArray floats(std::size_t size) { return {"float32", size * sizeof(float)}; }

HostTensor tensor(const AlignedBuffer<double>& buffer) {
  return {std::shared_ptr<const void>(std::shared_ptr<void>(), buffer.data()), TF_DOUBLE,
          buffer.size() * sizeof(double)};
}

/// a [1] * x'x of two elements.
void square(const std::vector<const void*>& arguments, const std::vector<void*>& results) {
  const auto* x = static_cast<const double*>(arguments[0]);
  const double a = *static_cast<const double*>(arguments[1]);
  auto* gradient = static_cast<double*>(results[1]);
  *static_cast<double*>(results[0]) = a * (x[0] * x[0] + x[1] * x[1]);
  for (int i = 0; i < 2; ++i) gradient[i] = 2 * a * x[i];
}

std::shared_ptr<XlaProgram> square_program() {
  return std::make_shared<FakeProgram>(square, std::vector<XlaArray>{doubles(2), doubles(1)},
                                       std::vector<XlaArray>{doubles(1), doubles(2)});
}

class XlaExecutableTest : public testing::Test {
 protected:
  XlaExecutableTest() : weight_(1), x_(8), gradient_(16) {
    weight_.data()[0] = 3;
    x_.data()[0] = 1;
    x_.data()[1] = 2;
  }

  XlaExecutable squares() {
    return {XlaOptions{square_program(), {std::size_t{0}, tensor(weight_)}}, {{0, {2}, TF_DOUBLE, nullptr}}, TF_DOUBLE};
  }

  AlignedBuffer<double> weight_;
  AlignedBuffer<double> x_;
  AlignedBuffer<double> gradient_;
};

TEST_F(XlaExecutableTest, ReadsXAndWritesTheGradientInPlace) {
  XlaExecutable squares = this->squares();
  EXPECT_EQ(squares.evaluate({x_.data(), 2}, {gradient_.data(), 2}), 15);
  EXPECT_EQ(squares.input_address({x_.data(), 2}, 0), x_.data());
  EXPECT_EQ(squares.input_address({x_.data(), 2}, 1), weight_.data());
  EXPECT_THAT((std::vector<double>(gradient_.data(), gradient_.data() + 3)), ElementsAre(6, 12, 0));
}

TEST_F(XlaExecutableTest, GradientThatIsNotAlignedIsCopied) {
  XlaExecutable squares = this->squares();
  for (double* const target : {gradient_.data() + 1, gradient_.data() + 8, gradient_.data() + 3}) {
    EXPECT_EQ(squares.evaluate({x_.data(), 2}, {target, 2}), 15);
    EXPECT_EQ(target[0], 6);
    EXPECT_EQ(target[1], 12);
  }
}

TEST_F(XlaExecutableTest, InputIsReplacedByOneOfTheSameSize) {
  XlaExecutable squares = this->squares();
  AlignedBuffer<double> other(1);
  other.data()[0] = 5;
  squares.set_input(1, tensor(other));
  EXPECT_EQ(squares.evaluate({x_.data(), 2}, {gradient_.data(), 2}), 25);
  const AlignedBuffer<double> longer(2);
  EXPECT_THAT([&] { squares.set_input(1, tensor(longer)); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("another dtype or size")));
  EXPECT_THAT([&] { squares.set_input(0, tensor(other)); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("Input 0 is not a tensor")));
  EXPECT_EQ(squares.evaluate({x_.data(), 2}, {gradient_.data(), 2}), 25);
}

TEST_F(XlaExecutableTest, WhatDoesNotFitTheProgramIsRefused) {
  const auto make = [&](const std::vector<XlaOptions::Input>& inputs, const std::vector<Component>& components,
                        TF_DataType loss) {
    return [=] { XlaExecutable({square_program(), inputs}, components, loss); };
  };
  const Component fitting{0, {2}, TF_DOUBLE, nullptr};
  EXPECT_THAT(make({std::size_t{0}}, {fitting}, TF_DOUBLE),
              ThrowsMessage<std::invalid_argument>(HasSubstr("takes 2 arguments, and 1 were given")));
  EXPECT_THAT(make({std::size_t{0}, tensor(x_)}, {fitting}, TF_DOUBLE),
              ThrowsMessage<std::invalid_argument>(HasSubstr("Input 1 has 64 bytes, and the program takes 8")));
  EXPECT_THAT(make({std::size_t{0}, tensor(weight_)}, {fitting}, TF_FLOAT),
              ThrowsMessage<std::invalid_argument>(HasSubstr("The loss is float64, and float32 was expected")));
  EXPECT_THAT(make({std::size_t{0}, tensor(weight_)}, {{0, {3}, TF_DOUBLE, nullptr}}, TF_DOUBLE),
              ThrowsMessage<std::invalid_argument>(HasSubstr("gradient of component 0 has 16 bytes; it must have 24")));
  EXPECT_THAT(make({std::size_t{0}, tensor(weight_)}, {fitting, {8, {1}, TF_DOUBLE, nullptr}}, TF_DOUBLE),
              ThrowsMessage<std::invalid_argument>(HasSubstr("has 2 results, and 3 were expected")));
}

TEST_F(XlaExecutableTest, ShortXIsRefused) {
  XlaExecutable squares = this->squares();
  EXPECT_THROW(squares.evaluate({x_.data(), 1}, {gradient_.data(), 2}), std::invalid_argument);
  EXPECT_THROW(squares.evaluate({x_.data(), 2}, {gradient_.data(), 1}), std::invalid_argument);
}

TEST_F(XlaExecutableTest, FloatsAreStagedAndWidened) {
  const Body half = [](const std::vector<const void*>& arguments, const std::vector<void*>& results) {
    const float x = *static_cast<const float*>(arguments[0]);
    *static_cast<float*>(results[0]) = x * x / 2;
    *static_cast<float*>(results[1]) = x;
  };
  XlaExecutable function({std::make_shared<FakeProgram>(half, std::vector<XlaArray>{floats(1)},
                                                        std::vector<XlaArray>{floats(1), floats(1)}),
                          {std::size_t{0}}},
                         {{0, {}, TF_FLOAT, nullptr}}, TF_FLOAT);
  x_.data()[0] = 0.1;
  const auto rounded = static_cast<double>(0.1F);
  EXPECT_FLOAT_EQ(static_cast<float>(function.evaluate({x_.data(), 1}, {gradient_.data(), 1})), 0.005F);
  EXPECT_EQ(gradient_.data()[0], rounded);
}

TEST_F(XlaExecutableTest, ConstraintsAreMadeOfRows) {
  // loss x0 + x1; v = (x0, x1, 7)
  const Body values = [](const std::vector<const void*>& arguments, const std::vector<void*>& results) {
    const auto* x = static_cast<const double*>(arguments[0]);
    *static_cast<double*>(results[0]) = x[0] + x[1];
    auto* v = static_cast<double*>(results[1]);
    v[0] = x[0];
    v[1] = x[1];
    v[2] = 7;
  };
  const Body derivatives = [](const std::vector<const void*>& arguments, const std::vector<void*>& results) {
    const auto* x = static_cast<const double*>(arguments[0]);
    *static_cast<double*>(results[0]) = x[0] + x[1];
    auto* v = static_cast<double*>(results[1]);
    auto* gradient = static_cast<double*>(results[2]);
    auto* jacobian = static_cast<double*>(results[3]);
    v[0] = x[0];
    v[1] = x[1];
    v[2] = 7;
    gradient[0] = gradient[1] = 1;
    for (int i = 0; i < 6; ++i) jacobian[i] = i == 0 || i == 3 ? 1 : 0;
  };
  const std::vector<XlaArray> parameters{doubles(2)};
  ConstrainedXlaExecutable function(
      {std::make_shared<FakeProgram>(values, parameters, std::vector<XlaArray>{doubles(1), doubles(3)}),
       {std::size_t{0}}},
      {std::make_shared<FakeProgram>(derivatives, parameters,
                                     std::vector<XlaArray>{doubles(1), doubles(3), doubles(2), doubles(6)}),
       {std::size_t{0}}},
      {{0, {2}, TF_DOUBLE, nullptr}}, {TF_DOUBLE, TF_DOUBLE, 3}, {{0, 1, -1, 5}, {2, 0, 1, 0}});
  std::vector<double> c(3, -9);
  const AlignedBuffer<double> jacobian(24);
  EXPECT_EQ(function.evaluate_values({x_.data(), 2}, c), 3);
  EXPECT_THAT(c, ElementsAre(3, -9, 1));
  const Derivatives target{{gradient_.data(), 2}, jacobian.span(), 8};
  c.assign(3, -9);
  EXPECT_EQ(function.evaluate({x_.data(), 2}, c, target), 3);
  EXPECT_THAT(c, ElementsAre(3, -9, 1));
  EXPECT_THAT((std::vector<double>(gradient_.data(), gradient_.data() + 2)), ElementsAre(1, 1));
  EXPECT_EQ(jacobian.data()[1], -1);
  EXPECT_EQ(jacobian.data()[16], 1);
  EXPECT_TRUE(function.is_joint());
  EXPECT_THROW(function.evaluate_values({x_.data(), 2}, {c.data(), 2}), std::invalid_argument);
}

}  // namespace
}  // namespace tfminimize
