#include "xla/nanort/custom_call.h"

#include <algorithm>
#include <utility>

#include "xla/service/custom_call_target_registry.h"

namespace tfminimize::xla {
namespace {

void set_row_major(::xla::ShapeProto& shape) {
  shape.mutable_layout()->clear_minor_to_major();
  for (int i = shape.dimensions_size() - 1; i >= 0; --i) shape.mutable_layout()->add_minor_to_major(i);
}

/// The number of an instruction in its computation is the lower half of its identity.
std::uint32_t number_of(std::int64_t id) { return static_cast<std::uint32_t>(id); }

}  // namespace

std::string register_kernel(const std::string& name, Kernel* kernel) {
  // XLA ends the process if two functions have one name, so another copy of this library in the process, as of another
  // installation, must have a name of its own.
  std::string target = "tfminimize_" + name + "_" + std::to_string(reinterpret_cast<std::uintptr_t>(kernel));
  ::xla::CustomCallTargetRegistry::Global()->Register(target, reinterpret_cast<void*>(kernel), "Host");
  return target;
}

::xla::HloInstructionProto detail::call_in_place_of(const ::xla::HloInstructionProto& instruction,
                                                    const std::string& target, std::string text) {
  ::xla::HloInstructionProto call;
  call.set_id(instruction.id());
  call.set_name(instruction.name());
  call.set_opcode("custom-call");
  call.set_custom_call_target(target);
  call.set_custom_call_api_version(::xla::API_VERSION_STATUS_RETURNING_UNIFIED);
  call.set_backend_config(std::move(text));
  call.set_constrain_layout(true);
  *call.mutable_metadata() = instruction.metadata();
  *call.mutable_shape() = instruction.shape();
  set_row_major(*call.mutable_shape());
  return call;
}

void add_operand(::xla::HloInstructionProto& call, std::int64_t id, const ::xla::ShapeProto& shape) {
  call.add_operand_ids(id);
  ::xla::ShapeProto& ours = *call.add_operand_shapes_with_layout();
  ours = shape;
  set_row_major(ours);
}

bool is_dynamic(const ::xla::HloModuleProto& module) {
  for (const ::xla::HloComputationProto& computation : module.computations()) {
    for (const ::xla::HloInstructionProto& instruction : computation.instructions()) {
      const auto& dynamic = instruction.shape().is_dynamic_dimension();
      if (std::find(dynamic.begin(), dynamic.end(), true) != dynamic.end()) return true;
    }
  }
  return false;
}

Instructions::Instructions(const ::xla::HloComputationProto& computation) {
  for (const ::xla::HloInstructionProto& instruction : computation.instructions()) {
    instructions_[number_of(instruction.id())] = &instruction;
  }
}

const ::xla::HloInstructionProto* Instructions::find(std::int64_t id) const {
  const auto found = instructions_.find(number_of(id));
  return found == instructions_.end() ? nullptr : found->second;
}

void replace_instructions(::xla::HloModuleProto& module, const Replacement& replacement) {
  for (::xla::HloComputationProto& computation : *module.mutable_computations()) {
    const Instructions instructions(computation);
    for (::xla::HloInstructionProto& instruction : *computation.mutable_instructions()) {
      if (auto other = replacement(instruction, instructions)) instruction = *std::move(other);
    }
  }
}

}  // namespace tfminimize::xla
