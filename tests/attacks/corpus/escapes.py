"""Ways around the Python layer: imports, dunders, bindings, frames. They may get there, and must find nothing."""

from __future__ import annotations

from tests.attacks.attack import COMMON, Family

# No import is authorised in these: what they reach, they reach in spite of the list.
hops = Family("module-hops", imports=(), prelude=COMMON, control=True)
hops.add("random-keeps-os", "import random; reap(random._os)")
hops.add("from-import-of-a-private-name", "from random import _os; reap(_os)")
hops.add("sys-modules", "import sys; reap(sys.modules['os'])")
hops.add("statistics-to-sys", "import statistics; reap(statistics.sys.modules['os'])")
hops.add("threading-keeps-os", "import threading; reap(threading._os)")
hops.add("logging-keeps-os", "import logging; reap(logging.os)")
hops.add("inspect-keeps-os", "import inspect; reap(inspect.os)")
hops.add("tempfile-keeps-os", "import tempfile; reap(tempfile._os)")
hops.add("asyncio-to-subprocess-to-os", "import asyncio; reap(asyncio.subprocess.subprocess.os)")
hops.add("codecs-to-builtins", "import codecs; reap(codecs.builtins.__import__('os'))")
hops.add("mock-imports-by-name", "from unittest import mock; reap(mock.pkgutil.resolve_name('os'))")
hops.add("mock-patches-by-name", "from unittest import mock; reap(mock.patch('os.getcwd').getter())")
hops.add("a-pickle-calls", "import pickle; reap(pickle.loads(b\"cimportlib\\nimport_module\\n(S'os'\\ntR.\"))")
hops.add(
    "an-unpickler-finds-a-class",
    """
    import io, pickle
    pickle.Unpickler(io.BytesIO()).find_class("posix", "open")(canary, 0) > 0
    """,
)
hops.add(
    "a-logging-configuration-resolves",
    """
    import logging.config
    reap(logging.config.BaseConfigurator({}).resolve("os.path").os)
    """,
)
hops.add(
    "a-loader-of-builtin-modules",
    """
    import sys
    posix = sys.__spec__.loader.load_module("posix")
    posix.read(posix.open(canary, posix.O_RDONLY), 100)
    """,
)
hops.add("a-loader-keeps-its-module", "import json; reap(json.__loader__.get_data.__globals__['sys'].modules['os'])")
hops.add(
    "an-annotation-is-evaluated",
    """
    import typing
    def f(x: "__import__('random')._os.open(canary, 0) and int"): pass
    typing.get_type_hints(f)
    """,
)
hops.add(
    "timeit-compiles-text",
    """
    import timeit
    box = []
    timeit.timeit("import os; box.append(os)", number=1, globals={"box": box})
    reap(box[0])
    """,
)

dunders = Family("dunder-chains", imports=(), prelude=COMMON, control=True)
dunders.add(
    "all-subclasses-of-object",
    """
    [wrap_close] = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == "_wrap_close"]
    reap(wrap_close.__init__.__globals__["sys"].modules["os"])
    """,
)
dunders.add("builtins-behind-a-builtin", "reap(print.__self__.__import__('os'))")
dunders.add("builtins-behind-the-class-statement", "reap(__build_class__.__self__.__import__('os'))")
dunders.add("warnings-keep-their-module", "import warnings; reap(warnings.catch_warnings()._module.sys.modules['os'])")
dunders.add("globals-of-a-function", "import json; reap(json.loads.__globals__['codecs'].sys.modules['os'])")
dunders.add("getattribute-asked-directly", "import random; reap(random.__getattribute__('_os'))")
dunders.add(
    "names-put-together-from-pieces",
    """
    import random
    name = "_".join(["", "", "globals", "", ""])
    reap(object.__getattribute__(random.Random.seed, name)["_os"])
    """,
)
dunders.add(
    "the-import-machinerys-own-loader",
    """
    [importer] = [c for c in object.__subclasses__() if c.__name__ == "BuiltinImporter"]
    posix = importer.load_module("posix")
    posix.read(posix.open(canary, 0), 100)
    """,
)
dunders.add(
    "a-function-made-from-code",
    """
    import builtins
    def f(): return __import__("os")
    reap(type(f)(f.__code__, {"__builtins__": builtins})())
    """,
)
dunders.add(
    "a-constructor-from-reduce",
    """
    construct, _ = (1).__reduce_ex__(2)[:2]
    found = construct.__globals__["__builtins__"]
    reap((found["__import__"] if isinstance(found, dict) else found.__import__)("os"))
    """,
)
dunders.add(
    "code-with-other-names",
    """
    import random
    def f(module): return module.seed
    reap(f.__code__.replace(co_names=("_os",)) and type(f)(f.__code__.replace(co_names=("_os",)), {})(random))
    """,
)

bindings = Family("unchecked-binding", imports=(), prelude=COMMON, control=True)
bindings.add(
    "augmented-assignment-to-globals",
    """
    import random
    class Taker(dict):
        def __ror__(self, other):
            self.taken = other
            return other
    taker, f = Taker(), random.Random.seed
    try:
        f.__globals__ |= taker
    except AttributeError:
        pass
    reap(f.__globals__["_os"])
    """,
)
bindings.add(
    "with-binds-what-it-gives",
    """
    import random
    class Manager:
        def __enter__(self): return random._os
        def __exit__(self, *error): return True
    with Manager() as taken:
        loot = reap(taken)
    loot
    """,
)
bindings.add(
    "except-binds-an-exception-with-a-module",
    """
    import random
    class Carrier(Exception):
        os = random._os
    try:
        raise Carrier
    except Carrier as error:
        loot = reap(error.os)
    loot
    """,
)
bindings.add(
    "a-loop-binds-an-attribute",
    """
    import random
    class H: pass
    for H.os in [random._os]: pass
    reap(H.os)
    """,
)
bindings.add(
    "a-pattern-reads-attributes",
    """
    import random
    match random:
        case object(_os=taken):
            loot = reap(taken)
    loot
    """,
)
bindings.add("a-walrus-binds", "import random; [(taken := vars(random)['_os']) for _ in 'x']; reap(taken)")
bindings.add(
    "a-default-binds",
    """
    import random
    def f(os=random._os): return reap(os)
    f()
    """,
)

indirect = Family("indirect-getattr", imports=(), prelude=COMMON, control=True)
indirect.add("map", "import random; reap(list(map(getattr, [random], ['_os']))[0])")
indirect.add("partial", "import functools, random; reap(functools.partial(getattr, random)('_os'))")
indirect.add("attrgetter", "import operator, random; reap(operator.attrgetter('_os')(random))")
indirect.add("methodcaller", "import operator, random; reap(operator.methodcaller('__getattribute__', '_os')(random))")
indirect.add("reduce", "import functools, random; reap(functools.reduce(getattr, ['_os', 'path', 'os'], random))")
indirect.add(
    "property",
    """
    import random
    class P: os = property(lambda self: random._os)
    reap(P().os)
    """,
)
indirect.add(
    "getattr-of-a-module",
    """
    import random, types
    module = types.ModuleType("module")
    module.__getattr__ = lambda name: getattr(random, "_" + name)
    reap(module.os)
    """,
)

smuggling = Family("smuggling", imports=(), prelude=COMMON, control=True)
smuggling.add("a-dict-of-callables", "import random; calls = {1: random._os.open}; calls[1](canary, 0) > 0")
smuggling.add(
    "a-sort-key",
    """
    import random
    found = []
    sorted([canary], key=lambda path: found.append(random._os.read(random._os.open(path, 0), 9)) or 0)
    found
    """,
)
smuggling.add(
    "a-decorator",
    """
    import random
    @reap
    @lambda f: f()
    def got(): return random._os
    got
    """,
)
smuggling.add(
    "a-metaclass",
    """
    import random
    class Meta(type):
        def __new__(cls, name, bases, space):
            return super().__new__(cls, name, bases, {**space, "loot": reap(random._os)})
    class Made(metaclass=Meta): pass
    Made.loot
    """,
)
smuggling.add(
    "a-descriptor-is-named",
    """
    import random
    class Descriptor:
        def __set_name__(self, owner, name): owner.loot = reap(random._os)
    class Owner:
        x = Descriptor()
    Owner.loot
    """,
)
smuggling.add(
    "an-item-of-a-class",
    """
    import random
    class C:
      def __class_getitem__(c, i): return reap(i)
    C[random._os]
    """,
)
smuggling.add(
    "a-made-dataclass",
    """
    import dataclasses, random
    made = dataclasses.make_dataclass("Made", [("os", object, dataclasses.field(default_factory=lambda: random._os))])
    reap(made().os)
    """,
)
smuggling.add(
    "an-enumeration",
    """
    import enum, random
    class E(enum.Enum): os = random._os
    reap(E.os.value)
    """,
)
smuggling.add(
    "a-weak-references-callback",
    """
    import random, weakref
    class C: pass
    found, c = [], C()
    watcher = weakref.ref(c, lambda _: found.extend(reap(random._os)))
    del c
    found
    """,
)
smuggling.add(
    "a-destructor",
    """
    import gc, random
    found = []
    class C:
        def __del__(self): found.extend(reap(random._os))
    C()
    gc.collect()
    found
    """,
)

strings = Family("format-strings", imports=(), prelude=COMMON, control=True)
strings.add("attributes", "import random; secret_name in '{0._os.environ}'.format(random)")
strings.add(
    "items",
    """
    import json; secret_name in '{f.__globals__[codecs].sys.modules[os].environ}'.format(f=json.loads)
    """,
)
strings.add("the-object-itself", "import string, random; reap(string.Formatter().get_field('0._os', (random,), {})[0])")
strings.add(
    "a-format-that-acts",
    """
    import random
    class C:
        def __format__(self, how): return str(len(reap(random._os)))
    int(f"{C():x}")
    """,
)
strings.add(
    "a-template",
    """
    import random, string
    class Lookup(dict):
        def __missing__(self, name): return getattr(random, name).environ
    secret_name in string.Template("$_os").substitute(Lookup())
    """,
)

frames = Family("frames-and-tracebacks", imports=(), prelude=COMMON)
frames.add(
    "a-traceback-climbs-into-the-guest",
    """
    try:
        1 / 0
    except ZeroDivisionError as error:
        frame = error.__traceback__.tb_frame
    while frame.f_back is not None:
        frame = frame.f_back
    found = frame.f_globals["os"] if "os" in frame.f_globals else frame.f_globals["sys"].modules["os"]
    reap(found)
    """,
    control=True,
)
frames.add(
    "a-generators-frame",
    """
    def g():
        yield
    reap(g().gi_frame.f_builtins["print"].__self__.__import__("os"))
    """,
    control=True,
)
frames.add(
    "a-coroutines-frame",
    """
    async def c(): pass
    one = c()
    taken = one.cr_frame.f_builtins["print"].__self__.__import__("os")
    one.close()
    reap(taken)
    """,
    control=True,
)
frames.add(
    "the-list-of-imports-is-lifted",
    """
    import gc
    for one in gc.get_objects():
        if type(one).__name__ == "Imports":
            one.__init__(["*"], {})
    import os, ctypes, subprocess
    reap(os)
    """,
    control=True,
)
frames.add(
    "the-limit-of-output-is-lifted",
    """
    import gc
    for one in gc.get_objects():
        if type(one).__name__ == "Output":
            one._left = one._limit = 10**12
    for _ in range(2000):
        print("x" * 100_000)
    """,
    ends="SandboxCrash",
    dies=True,
)
frames.add(
    "signals-of-the-deadline-are-ignored",
    """
    import sys
    signal = sys.modules["signal"]
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, lambda *_: None)
    while True:
        pass
    """,
    wall=0.3,
    ends="TimeoutError",
    dies=True,
)
frames.add(
    "the-guest-never-speaks-again",
    """
    import gc
    for one in gc.get_objects():
        if type(one).__name__ == "Channel":
            one.__class__.send = lambda self, frame: None
    """,
    wall=0.3,
    ends="TimeoutError",
    dies=True,
)
frames.add(
    "a-tracer-raises-inside-the-guest",
    """
    import sys
    def trace(frame, event, argument):
        if frame.f_code.co_name in ("send", "_send", "pack"):
            raise RuntimeError("inside the guest")
        return trace
    sys.settrace(trace)
    print("x" * 9000)
    """,
    wall=1.0,
)
frames.add(
    "a-profiler-raises-inside-the-guest",
    """
    import sys
    def profile(frame, event, argument):
        if frame.f_code.co_name in ("send", "_finished", "_run"):
            raise KeyboardInterrupt
    sys.setprofile(profile)
    """,
    wall=1.0,
)

FAMILIES = [hops, dunders, bindings, indirect, smuggling, strings, frames]
