"""Stand-ins: functions read these instead of the optimised variables, which a solve does not touch."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tfminimize._problem.layout import Segment
from tfminimize._problem.parameters import Parameters, replicas
from tfminimize._tf import private

__all__ = ["StandIns", "cannot_share", "destroy", "in_host_memory", "replace", "scratch_handle", "with_assignments"]


class StandIns:
    """Resources that replace variables in functions, so that a solve can assign them.

    Parameters
    ----------
    replaced : sequence of tf.Tensor
        The handles of the variables.
    segments : sequence of Segment
        The components of x that they hold.
    in_graph : bool
        Whether the graph that is being built makes new stand-ins whenever it runs. If not, they are made here, on the
        devices of the variables, and destroyed with this object.

    Attributes
    ----------
    handles : list of tf.Tensor
    """

    def __init__(self, replaced: Sequence[tf.Tensor], segments: Sequence[Segment], *, in_graph: bool = False) -> None:
        self._replaced = replaced
        self.handles: list[tf.Tensor] = []
        for other, segment in zip(replaced, segments, strict=True):
            if in_graph:
                handle = _new_handle(segment)
            else:
                handle = scratch_handle(other.device, segment)
                weakref.finalize(self, destroy, handle).atexit = False
                private.copy_handle_data(other, handle)
            self.handles.append(handle)

    def assign(self, values: Iterable[tf.Tensor]) -> list[Any]:
        """Return operations that assign these values."""
        pairs = zip(self.handles, values, strict=True)
        return [tf.raw_ops.AssignVariableOp(resource=handle, value=value) for handle, value in pairs]

    def call(
        self,
        concrete: Any,
        values: Iterable[tf.Tensor],
        inputs: Sequence[tf.Tensor],
        captured: Sequence[tf.Tensor] | None = None,
    ) -> Any:
        """Call a function in the graph that is being traced, with these values in its variables.

        Others may stand for the rest of what it has ``captured``.
        """
        self.assign(values)
        captured = concrete.captured_inputs if captured is None else captured
        return tf.raw_ops.StatefulPartitionedCall(
            args=[*inputs, *replace(captured, self._replaced, self.handles)],
            Tout=[tensor.dtype for tensor in concrete.outputs],
            f=concrete,
        )


def replace(tensors: Sequence[tf.Tensor], old: Sequence[tf.Tensor], new: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Replace old tensors by new ones."""
    by_id = {id(tensor): other for tensor, other in zip(old, new, strict=True)}
    return [by_id.get(id(tensor), tensor) for tensor in tensors]


def scratch_handle(device: str, segment: Segment) -> tf.Tensor:
    """Return the handle of a new resource for a component of x.

    It is a raw resource, not a `tf.Variable`, so that none of the user's creator scopes, distribution strategies, tapes
    or collections sees it. It lives until `destroy`.
    """
    with tf.init_scope(), tf.device(device):
        return _new_handle(segment)


def _new_handle(segment: Segment) -> tf.Tensor:
    return tf.raw_ops.VarHandleOp(dtype=segment.dtype, shape=segment.shape, shared_name=private.anonymous_name())


def _copied(value: tf.Tensor, segment: Segment, device: str) -> tf.Tensor:
    """A stand-in on another device, which the graph makes whenever it runs."""
    with tf.device(device):
        handle = _new_handle(segment)
        tf.raw_ops.AssignVariableOp(resource=handle, value=value)
    return handle


def destroy(handle: tf.Tensor) -> None:
    """Destroy a resource. This may be called at any time, even while a graph is being built."""
    with private.eagerly():
        tf.raw_ops.DestroyResourceOp(resource=handle, ignore_lookup_error=True)


_SPARSE_READS = {"ResourceGather", "ResourceGatherNd"}


def cannot_share(graphs: Sequence[Any], parameters: Parameters, jit: bool, has_own: bool) -> tuple[int, ...]:
    """Return the variables whose stand-ins cannot share the memory of x and have to be assigned: all if ``has_own``.

    A gather on a variable makes TensorFlow move it to new memory ("copy on read"), unless XLA compiles it; a variable
    on another device has other memory anyway; and tensors that an operation may keep must not change with x.
    """
    if not parameters.variables:
        return ()
    bodies = [body for graph in graphs for body in (graph.node, *(f.node_def for f in graph.library.function))]
    gathers = not jit and not _SPARSE_READS.isdisjoint(node.op for node in itertools.chain(*bodies))
    has_own = has_own or gathers
    return tuple(i for i, v in enumerate(parameters.variables) if has_own or not in_host_memory(v))


def in_host_memory(variable: tf.Variable) -> bool:
    """Whether a variable lives in the memory that the solver uses."""
    device, host = map(tf.DeviceSpec.from_string, (variable.device, private.host_device()))
    is_first_cpu = (device.device_type, device.device_index) == ("CPU", 0)
    return is_first_cpu and bool(host.make_merged_spec(device) == host)  # not that of another process


def with_assignments(
    concrete: Any, parameters: Parameters, by_value: tuple[int, ...], specs: list[tf.TensorSpec], jit: bool
) -> tuple[Any, dict[int, int]]:
    """Return a function that takes these variables by value and assigns them to stand-ins before it reads them.

    Also returns the component of x that each stand-in holds, by the `id` of its handle.
    """
    segments = [parameters.layout.segments[i] for i in by_value]
    stand_ins = StandIns([parameters.variables[i].handle for i in by_value], segments)
    copies = [(k, copy) for k, i in enumerate(by_value) for copy in replicas(parameters.variables[i])[1:]]

    def assign_and_call(*inputs: tf.Tensor) -> Any:
        values, others = inputs[: len(segments)], inputs[len(segments) :]
        on_devices = [_copied(values[k], segments[k], copy.device) for k, copy in copies]
        captured = replace(concrete.captured_inputs, [copy.handle for _, copy in copies], on_devices)
        results = stand_ins.call(concrete, values, others, captured)
        if jit and all(map(in_host_memory, parameters.variables)):  # XLA takes no variables on other devices
            private.mark_for_xla(results[0].op)
        return results

    inputs = [tf.TensorSpec(s.shape, s.dtype) for s in segments]
    outer = tf.function(assign_and_call, autograph=False).get_concrete_function(*inputs, *specs)
    return outer, {id(handle): i for i, handle in zip(by_value, stand_ins.handles, strict=True)}
