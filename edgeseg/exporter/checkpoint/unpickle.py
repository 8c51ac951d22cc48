"""Reading a pickle as data: whatever it names is noted and nothing is imported, created or called.

Python's own unpickler imports what a file names and calls it. This one follows the same instructions with
descriptions in place of objects: a class becomes a `Global`, an object an `Instance` that holds what would
have been passed to the class, a tensor a `TensorRecord` that says where its numbers lie. So a file may hold
anything at all beside its weights, from whatever package, and cannot run code.
"""

from __future__ import annotations

import builtins
import pickletools
import sys
from typing import IO, TYPE_CHECKING, Any, cast

from edgeseg.records import short_repr

from .bounds import MAX_EXTRA_BYTES, MAX_NAME_LENGTH, PickleError, ReadBudget, check_key
from .placeholders import Global, Instance, StorageRecord, TensorRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from .bounds import BoundedStream

__all__ = [
    "Global",
    "Instance",
    "PickleError",
    "RefusedError",
    "StorageRecord",
    "TensorRecord",
    "read_pickle",
]
# Not what keeps this safe: a checkpoint that would call one of these is an attack, and its owner should know.
HOSTILE_MODULES = (
    "os",
    "posix",
    "nt",
    "subprocess",
    "sys",
    "shutil",
    "socket",
    "importlib",
    "runpy",
    "pty",
    "ctypes",
    "webbrowser",
    "pdb",
    "builtins",
    "pickle",
    "marshal",
)
# Beside the types among `builtins`: what names a class inside a class.
ALLOWED_BUILTINS = ("builtins.getattr",)
RENAMED_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
MAX_DIMENSIONS = 64
MAX_SIDE = 2**62
LOAD = "torch.storage._load_from_bytes"
REBUILD_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"
# Bytes of an entry of a dict and of a list.
DICT_ENTRY_BYTES, LIST_ENTRY_BYTES = 100, 8


class RefusedError(Exception):
    """The pickle is whole and what it holds is refused; the message begins with "it"."""


def read_pickle(stream: IO[bytes] | BoundedStream, source: Any, budget: ReadBudget | None = None) -> Any:
    """Read one pickle as data; the stream stands behind it afterwards.

    Args:
        stream: Any protocol.
        source: What storages are looked up in later, and what opens a checkpoint within this one; see
            `StorageRecord` and `archive.Container`.
        budget: What may still be done and held; None for what a small file may.

    Raises:
        PickleError: Cut off, or no pickle.
        RefusedError: It would call something that no checkpoint has a use for.
    """
    try:
        return _PickleMachine(source, budget or ReadBudget(octets=MAX_EXTRA_BYTES)).run(stream)
    except (
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        OverflowError,
        EOFError,
        MemoryError,
        RecursionError,
    ) as exc:
        msg = str(exc) or type(exc).__name__
        raise PickleError(msg) from exc


class _PickleMachine:
    """The stack machine that pickles are programs for."""

    def __init__(self, source: Any, budget: ReadBudget) -> None:
        self.source, self.budget = source, budget
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: IO[bytes] | BoundedStream) -> Any:
        for opcode, arg, _ in pickletools.genops(cast("IO[bytes]", stream)):
            self.budget.use_steps()
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name]())
            elif opcode.name in _VALUES:
                self.budget.use_bytes(sys.getsizeof(arg))
                self.stack.append(arg)
            else:
                _OPCODES[opcode.name](self, arg)
        msg = "it ends early"
        raise EOFError(msg)

    def pop_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def put(self, index: Any) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def collect(self, kind: Callable[[list[Any]], Any]) -> None:
        items = self.pop_mark()
        self.stack.append(kind(items))

    def tuple_of(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(items)

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        (target.elements if isinstance(target, Instance) else target).extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        entries = target.items if isinstance(target, Instance) else target
        for key in items[::2]:
            check_key(key)
        # Only a dict: a list would take its items in any order and of any number.
        dict.update(entries, zip(items[::2], items[1::2], strict=True))

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        check_key((name, module))
        if not isinstance(name, str) or not isinstance(module, str):
            msg = "the name of a class in it is no text"
            raise PickleError(msg)
        self.stack.append(_global_named(f"{module} {name}"))

    def reduce(self, _: Any) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        self.stack.append(_construct(function, args, self))

    def new_with_names(self, _: Any) -> None:
        self.stack.pop()
        self.reduce(None)

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], dict | None):
            # Of a class with slots.
            state = self.merge_states(*state)
        if isinstance(self.stack[-1], Instance):
            self.stack[-1].state = state

    def merge_states(self, first: dict[Any, Any] | None, second: Any) -> dict[Any, Any]:
        parts = [part for part in (first, second) if isinstance(part, dict) and part]
        if len(parts) < 2:
            return parts[0] if parts else {}
        self.budget.use_bytes(DICT_ENTRY_BYTES * sum(map(len, parts)))
        return {**parts[0], **parts[1]}

    def instance(self, name: str) -> None:
        args = tuple(self.pop_mark())
        self.stack.append(_construct(_global_named(name), args, self))

    def object(self, _: Any) -> None:
        function, *args = self.pop_mark()
        self.stack.append(_construct(function, tuple(args), self))

    def persistent(self, pid: Any) -> None:
        self.stack.append(_storage(self.source, pid))


def _global_named(pair: str) -> Global:
    """Make `module name`, as pickles have it, a dotted name; Python 2 called two modules otherwise."""
    check_key(pair)
    module, _, name = pair.partition(" ")
    return Global(f"{RENAMED_MODULES.get(module, module)}.{name}")


def _refuse_hostile(name: str) -> None:
    module, _, function = name.partition(".")
    is_type = module == "builtins" and isinstance(getattr(builtins, function, None), type)
    if module in HOSTILE_MODULES and not is_type and name not in ALLOWED_BUILTINS:
        msg = f"it wants to run {name}, which no checkpoint needs; it was not run, do not trust the file"
        raise RefusedError(msg)


def _construct(function: Any, args: Any, machine: _PickleMachine) -> Any:
    name = function.name if isinstance(function, Global | Instance) else short_repr(function)
    _refuse_hostile(name)
    args = args if isinstance(args, tuple) else ()
    if name == LOAD:
        return _nested(machine, *args)
    if name == REBUILD_FROM_TYPE:
        return _construct(args[0], args[2], machine) if len(args) == 4 else None
    rebuild = _REBUILDERS.get(name)
    if rebuild is None:
        return Instance(name, args)
    # What a rebuilding may copy.
    if args and isinstance(args[0], str | bytes):
        machine.budget.use_bytes(len(args[0]))
    elif args and isinstance(args[0], dict | list | tuple):
        machine.budget.use_bytes(
            len(args[0]) * (DICT_ENTRY_BYTES if rebuild is _mapping else LIST_ENTRY_BYTES)
        )
    return rebuild(*args)


def _storage(source: Any, pid: Any) -> StorageRecord | Global:
    if not isinstance(pid, tuple) or len(pid) > MAX_DIMENSIONS:
        msg = "it refers to something outside the file"
        raise PickleError(msg)
    tag, kind, *_ = pid
    if tag == "module" and isinstance(kind, Global):
        # A class, with its source text: so PyTorch before 1.6 kept those of a whole model.
        return kind
    key, _, _, *view = pid[2:]
    if tag not in ("storage", b"storage"):
        msg = f"it refers to {short_repr(tag)} outside the file"
        raise PickleError(msg)
    # Before PyTorch 0.4 a storage could be part of another one.
    key, first = (view[0][0], int(view[0][1])) if view and view[0] else (key, 0)
    if not isinstance(key, str | int | bytes) or len(str(key)) > MAX_NAME_LENGTH:
        msg = "it refers to numbers by what is no name"
        raise PickleError(msg)
    name = kind.name.rpartition(".")[2]
    source.kinds[str(key)] = name
    return StorageRecord(source, str(key), name, first)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *rest: Any) -> TensorRecord:
    if len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
        msg = f"a tensor of {len(size)} sizes and {len(stride)} strides is none of a model"
        raise PickleError(msg)
    found = TensorRecord(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))
    # Otherwise the negative size of one tensor would make room for another that is too large.
    if not all(0 <= number < MAX_SIDE for number in (found.offset, *found.size, *found.stride)):
        msg = f"a tensor of shape {short_repr(found.size)} and strides {short_repr(found.stride)} cannot be"
        raise PickleError(msg)
    return found


def _typed_tensor(storage: Any, offset: int, size: Any, stride: Any, *rest: Any) -> TensorRecord:
    plain = _tensor(storage, offset, size, stride)
    return TensorRecord(plain.storage, plain.offset, plain.size, plain.stride, rest[2].name)


def _nested(machine: _PickleMachine, data: Any = None) -> Any:
    return machine.source.nested(data, machine.budget)


def _unreadable(fault: str) -> Callable[..., TensorRecord]:
    return lambda *args: TensorRecord(fault=fault)


def _mapping(*args: Any) -> dict[Any, Any]:
    if args and isinstance(args[0], list):
        for key, _ in args[0]:
            check_key(key)
    return dict(args[0]) if args and isinstance(args[0], dict | list) else {}


_REBUILDERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,
    "collections.defaultdict": lambda *args: {},
    "builtins.dict": _mapping,
    "builtins.list": lambda items=(): list(items),
    "builtins.tuple": lambda items=(): tuple(items),
    "builtins.set": lambda items=(): list(items),
    "builtins.frozenset": lambda items=(): list(items),
    "torch.Size": lambda items=(): tuple(items),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": lambda data, *rest: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *rest: data,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": lambda data, *rest: data,
    "_codecs.encode": lambda text, *rest: text.encode("latin-1"),
    "torch._utils._rebuild_qtensor": _unreadable("a quantised tensor"),
    "torch._utils._rebuild_sparse_tensor": _unreadable("a sparse tensor"),
    "torch._utils._rebuild_nested_tensor": _unreadable("a nested tensor"),
    "torch._utils._rebuild_meta_tensor_no_storage": _unreadable("a meta tensor, which has no values"),
    "torch._utils._rebuild_wrapper_subclass": _unreadable("a tensor of a class of its own"),
    "torch._utils._rebuild_device_tensor_from_numpy": _unreadable("a tensor of another device"),
    "torch.nn.parameter.UninitializedParameter": _unreadable("a parameter that was never initialised"),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
_VALUES = frozenset(
    opcode.name
    for opcode in pickletools.opcodes
    if opcode.name.endswith(("INT", "INT1", "INT2", "LONG", "LONG1", "LONG4", "FLOAT", "STRING"))
    or "BYTES" in opcode.name
    or "UNICODE" in opcode.name
    or opcode.name == "BYTEARRAY8"
)
_OPCODES: dict[str, Callable[[_PickleMachine, Any], Any]] = {
    "PROTO": lambda machine, arg: None,
    "FRAME": lambda machine, arg: None,
    "MARK": _PickleMachine.mark,
    "POP": _PickleMachine.pop,
    "POP_MARK": lambda machine, arg: machine.pop_mark(),
    "DUP": lambda machine, arg: machine.stack.append(machine.stack[-1]),
    "LIST": lambda machine, arg: machine.collect(list),
    "TUPLE": lambda machine, arg: machine.collect(tuple),
    "FROZENSET": lambda machine, arg: machine.collect(list),
    "DICT": lambda machine, arg: machine.collect(
        lambda items: _mapping([*zip(items[::2], items[1::2], strict=True)])
    ),
    "TUPLE1": lambda machine, arg: machine.tuple_of(1),
    "TUPLE2": lambda machine, arg: machine.tuple_of(2),
    "TUPLE3": lambda machine, arg: machine.tuple_of(3),
    "APPEND": lambda machine, arg: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, arg: machine.extend(machine.pop_mark()),
    "ADDITEMS": lambda machine, arg: machine.extend(machine.pop_mark()),
    "SETITEM": _PickleMachine.set_item,
    "SETITEMS": lambda machine, arg: machine.set_items(machine.pop_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _PickleMachine.put),
    **dict.fromkeys(
        ("GET", "BINGET", "LONG_BINGET"), lambda machine, arg: machine.stack.append(machine.memo[arg])
    ),
    "GLOBAL": lambda machine, arg: machine.stack.append(_global_named(arg)),
    "STACK_GLOBAL": _PickleMachine.stack_global,
    "REDUCE": _PickleMachine.reduce,
    "NEWOBJ": _PickleMachine.reduce,
    "NEWOBJ_EX": _PickleMachine.new_with_names,
    "BUILD": _PickleMachine.build,
    "INST": _PickleMachine.instance,
    "OBJ": _PickleMachine.object,
    "PERSID": _PickleMachine.persistent,
    "BINPERSID": lambda machine, arg: machine.persistent(machine.stack.pop()),
}
