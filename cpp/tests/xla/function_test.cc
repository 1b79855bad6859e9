#include "xla/function.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "objectives/function_objective.h"
#include "solvers/aligned_array.h"

namespace tfminimize::xla {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

using Doubles = solvers::AlignedArray<double>;

/// What a program of a test does with its arguments and results.
using Body = void (*)(const std::vector<const void*>& arguments, const std::vector<void*>& results);

class FakeCall final : public XlaCall {
 public:
  FakeCall(Body body, std::size_t num_arguments, std::size_t num_results)
      : body_(body), arguments_(num_arguments), results_(num_results) {}
  void set_argument(std::size_t index, const void* data) override { arguments_.at(index) = data; }
  void set_result(std::size_t index, void* data) override { results_.at(index) = data; }
  void run() override {
    for (const void* argument : arguments_) EXPECT_TRUE(solvers::is_aligned(argument));
    body_(arguments_, results_);
  }

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

InputTensor tensor(const Doubles& buffer) {
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

/// Returns what makes a function with this program and these inputs.
MakeFunction maker(const std::shared_ptr<XlaProgram>& program, const std::vector<CompiledFunction::Input>& inputs) {
  return [=](Components& components, std::vector<Output> outputs) {
    return std::make_unique<Function>(program, components, inputs, std::move(outputs));
  };
}

class XlaFunctionTest : public testing::Test {
 protected:
  XlaFunctionTest() {
    weight_.data()[0] = 3;
    x_.data()[0] = 1;
    x_.data()[1] = 2;
  }

  /// a * x'x of one component of two elements.
  std::unique_ptr<FunctionObjective> squares() const {
    return make({std::size_t{0}, tensor(weight_)}, {{0, {2}, TF_DOUBLE, nullptr}}, TF_DOUBLE);
  }

  static std::unique_ptr<FunctionObjective> make(const std::vector<CompiledFunction::Input>& inputs,
                                                 const std::vector<Component>& components, TF_DataType loss) {
    return std::make_unique<FunctionObjective>(components, FunctionOutputs{loss, TF_DOUBLE, 0},
                                               std::vector<MakeFunction>{maker(square_program(), inputs)},
                                               std::vector<ConstraintRow>());
  }

  Span<const double> x(std::size_t size) const { return {x_.data(), size}; }

  static Buffers gradient(double* data, std::size_t size) { return {{data, size}, {}, {}, 0}; }
  Buffers gradient(std::size_t size) const { return gradient(gradient_.data(), size); }

  Doubles weight_ = Doubles::zeros(1);
  Doubles x_ = Doubles::zeros(8);
  Doubles gradient_ = Doubles::zeros(16);
};

TEST_F(XlaFunctionTest, ReadsXAndWritesTheGradientInPlace) {
  const auto squares = this->squares();
  EXPECT_EQ(squares->evaluate(x(2), gradient(2)), 15);
  EXPECT_EQ(squares->functions()[0]->input_address(x(2), 0), x_.data());
  EXPECT_EQ(squares->functions()[0]->input_address(x(2), 1), weight_.data());
  EXPECT_THAT((std::vector<double>(gradient_.data(), gradient_.data() + 3)), ElementsAre(6, 12, 0));
}

TEST_F(XlaFunctionTest, GradientThatIsNotAlignedIsCopied) {
  const auto squares = this->squares();
  for (double* const target : {gradient_.data() + 1, gradient_.data() + 8, gradient_.data() + 3}) {
    EXPECT_EQ(squares->evaluate(x(2), gradient(target, 2)), 15);
    EXPECT_EQ(target[0], 6);
    EXPECT_EQ(target[1], 12);
  }
}

TEST_F(XlaFunctionTest, InputIsReplacedByOneOfTheSameSize) {
  const auto squares = this->squares();
  const Doubles other = Doubles::zeros(1);
  other.data()[0] = 5;
  squares->set_input(1, tensor(other));
  EXPECT_EQ(squares->evaluate(x(2), gradient(2)), 25);
  const Doubles longer = Doubles::zeros(2);
  EXPECT_THAT([&] { squares->set_input(1, tensor(longer)); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("another dtype or size")));
  EXPECT_THAT([&] { squares->set_input(0, tensor(other)); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("Input 0 is not a tensor")));
  EXPECT_EQ(squares->evaluate(x(2), gradient(2)), 25);
}

TEST_F(XlaFunctionTest, WhatDoesNotFitTheProgramIsRefused) {
  const auto make = [](const std::vector<CompiledFunction::Input>& inputs, const std::vector<Component>& components,
                       TF_DataType loss) { return [=] { XlaFunctionTest::make(inputs, components, loss); }; };
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

TEST_F(XlaFunctionTest, ShortXIsRefused) {
  const auto squares = this->squares();
  EXPECT_THROW(squares->evaluate(x(1), gradient(2)), std::invalid_argument);
  EXPECT_THROW(squares->evaluate(x(2), gradient(1)), std::invalid_argument);
}

TEST_F(XlaFunctionTest, FloatsAreStagedAndWidened) {
  const Body half = [](const std::vector<const void*>& arguments, const std::vector<void*>& results) {
    const float x = *static_cast<const float*>(arguments[0]);
    *static_cast<float*>(results[0]) = x * x / 2;
    *static_cast<float*>(results[1]) = x;
  };
  const auto program = std::make_shared<FakeProgram>(half, std::vector<XlaArray>{floats(1)},
                                                     std::vector<XlaArray>{floats(1), floats(1)});
  FunctionObjective function({{0, {}, TF_FLOAT, nullptr}}, {TF_FLOAT, TF_DOUBLE, 0}, {maker(program, {std::size_t{0}})},
                             {});
  x_.data()[0] = 0.1;
  const auto rounded = static_cast<double>(0.1F);
  EXPECT_FLOAT_EQ(static_cast<float>(function.evaluate(x(1), gradient(1))), 0.005F);
  EXPECT_EQ(gradient_.data()[0], rounded);
}

TEST_F(XlaFunctionTest, ConstraintsAreMadeOfRows) {
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
  const auto program = [&](Body body, const std::vector<XlaArray>& results) {
    return maker(std::make_shared<FakeProgram>(body, parameters, results), {std::size_t{0}});
  };
  FunctionObjective function({{0, {2}, TF_DOUBLE, nullptr}}, {TF_DOUBLE, TF_DOUBLE, 3},
                             {program(values, {doubles(1), doubles(3)}),
                              program(derivatives, {doubles(1), doubles(3), doubles(2), doubles(6)})},
                             {{0, 1, -1, 5}, {2, 0, 1, 0}});
  std::vector<double> c(3, -9);
  const Doubles jacobian = Doubles::zeros(24);
  const Buffers buffers{{gradient_.data(), 2}, c, jacobian.span(), 8};
  EXPECT_EQ(function.values(x(2), buffers), 3);
  EXPECT_THAT(c, ElementsAre(3, -9, 1));
  c.assign(3, -9);
  EXPECT_EQ(function.evaluate(x(2), buffers), 3);
  EXPECT_THAT(c, ElementsAre(3, -9, 1));
  EXPECT_THAT((std::vector<double>(gradient_.data(), gradient_.data() + 2)), ElementsAre(1, 1));
  EXPECT_EQ(jacobian.data()[1], -1);
  EXPECT_EQ(jacobian.data()[16], 1);
  EXPECT_TRUE(function.is_joint());
  EXPECT_THROW(function.values(x(2), {{}, {c.data(), 2}, {}, 0}), std::invalid_argument);
}

TEST_F(XlaFunctionTest, ValuesOfOneFunctionLeaveTheGradientAsItWas) {
  const auto squares = this->squares();
  EXPECT_EQ(squares->evaluate(x(2), gradient(2)), 15);
  x_.data()[0] = 2;
  EXPECT_EQ(squares->values(x(2), gradient(2)), 24);
  EXPECT_EQ(gradient_.data()[0], 6);
  squares->derivatives(x(2), gradient(2));
  EXPECT_EQ(gradient_.data()[0], 12);
}

TEST_F(XlaFunctionTest, SliceThatIsNotAlignedIsCopied) {
  const std::unique_ptr<FunctionObjective> squares = this->squares();
  const Doubles weights = Doubles::zeros(9);
  for (std::size_t i = 0; i < 9; ++i) weights.data()[i] = static_cast<double>(i);
  BatchedInput slices;
  slices.position = 1;
  slices.bytes = sizeof(double);
  slices.count = 9;
  slices.data = reinterpret_cast<const std::byte*>(weights.data());
  const BatchScope<Objective> batch(*squares, {slices});
  for (const std::size_t i : {0, 3, 8}) {
    squares->select(i);
    EXPECT_EQ(squares->evaluate(x(2), gradient(2)), 5.0 * static_cast<double>(i));
  }
}

TEST_F(XlaFunctionTest, NumberOfFunctionsMustFit) {
  const MakeFunction one = maker(square_program(), {std::size_t{0}, tensor(weight_)});
  const auto objective = [](const std::vector<MakeFunction>& make, std::size_t num_values) {
    return [=] { FunctionObjective({{0, {2}, TF_DOUBLE, nullptr}}, {TF_DOUBLE, TF_DOUBLE, num_values}, make, {}); };
  };
  EXPECT_THROW(objective({}, 0)(), std::invalid_argument);
  EXPECT_THROW(objective({one}, 1)(), std::invalid_argument);
  EXPECT_THROW(objective({one, one, one}, 0)(), std::invalid_argument);
}

}  // namespace
}  // namespace tfminimize::xla
