"""Values that should do something to whoever reads them: on the way to the host, and as arguments of tools."""

from __future__ import annotations

from tests.attacks.attack import COMMON, Family

from actloop.executors.session import SandboxLimits

small = SandboxLimits(wall=5.0, value=1 << 20)

# An attack's own value is what it got, so these hand theirs to a tool, which gives it back.
pickles = Family("deserialisation", limits=small)
pickles.add(
    "reduce",
    """
    class R:
        def __reduce__(self): return (os.system, (f'touch {folder}/owned',))
    echo(R())
    0
    """,
    ends="",
)
pickles.add(
    "reduce-in-containers",
    """
    class R:
        def __reduce_ex__(self, version): return (os.mkdir, (folder + "/owned",))
    echo({"a": [R(), (R(),)], "b": {1: R()}})
    0
    """,
    ends="",
)
pickles.add(
    "an-error-with-a-reduce",
    """
    class E(Exception):
        def __reduce__(self): return (os.mkdir, (folder + '/owned',))
    raise E('x')
    """,
    ends="E",
)
pickles.add(
    "bytes-that-are-a-pickle",
    """
    echo(b"cos\\nmkdir\\n(S'%s/owned'\\ntR." % folder.encode())
    0
    """,
    ends="",
)
pickles.add(
    "a-class-under-a-known-name",
    """
    class Decimal:
        def __str__(self): return "1e999999999"
    Decimal.__module__ = "decimal"
    class datetime:
        tzinfo = None
        def isoformat(self): return "x" * 100
    datetime.__module__ = "datetime"
    echo([Decimal(), datetime()])
    0
    """,
    ends="",
)
pickles.add(
    "a-dataclass-of-hostile-fields",
    """
    class H:
        __dataclass_fields__ = {"__class__": 0, "__init__": 0, "__dict__": 0, "__reduce__": 0}
    echo(H())
    0
    """,
)
pickles.add(
    "a-record-with-the-hosts-names",
    """
    import dataclasses
    names = ["__len__x", "record_type", "record_fields", "__array_interface__", "model_dump", "to_string", "__html__",
             "_repr_html_", "__await__x", "items", "keys", "dtype", "__iter__x", "__bool__x", "__fspath__"]
    Made = dataclasses.make_dataclass("Made", [(n, object, None) for n in names])
    str(echo(Made(*[1] * len(names))))[:0]
    """,
)
pickles.add(
    "objects-in-an-array",
    """
    import numpy
    echo(numpy.array([os.system, None, {}], dtype=object))
    0
    """,
    imports=("*",),
    ends="",
)
pickles.add(
    "a-structured-array",
    """
    import numpy
    echo(numpy.zeros(3, dtype=[('a', 'i4'), ('b', 'O')]))
    0
    """,
    ends="",
)
pickles.add(
    "an-array-that-is-larger-than-it-is",
    """
    import numpy
    from numpy.lib.stride_tricks import as_strided
    attempt(lambda: echo(as_strided(numpy.zeros(1), shape=(10**6, 10**6), strides=(0, 0))))
    0
    """,
)
pickles.add(
    "a-subclass-of-an-array",
    """
    import numpy
    class A(numpy.ndarray):
        def __reduce__(self): return (os.mkdir, (folder + "/owned",))
        def tobytes(self, *a): return b"x" * 7
        shape = property(lambda self: (2**40, 2**40))
    echo(numpy.zeros(3).view(A))
    0
    """,
)
pickles.add(
    "a-table-of-hostile-cells",
    """
    import pandas
    class H:
        def __reduce__(self): return (os.mkdir, (folder + "/owned",))
        def __repr__(self): raise RuntimeError
    echo(pandas.DataFrame({"a": [H(), H()]}))
    0
    """,
    limits=SandboxLimits(wall=20.0),
)

objects = Family("hostile-arguments", limits=small, prelude=COMMON)
objects.add(
    "a-repr-that-raises",
    """
    class H:
        def __repr__(self): raise RuntimeError('x')
    echo(H())
    0
    """,
    ends="",
)
objects.add(
    "a-repr-that-exits",
    """
    class H:
        def __repr__(self): raise SystemExit
    echo(H())
    0
    """,
)
objects.add(
    "a-repr-without-end",
    """
    class H:
        def __repr__(self): return 'x' * 10**8
    echo(H())
    0
    """,
    ends="",
)
objects.add(
    "a-repr-that-is-no-text",
    """
    class H:
        def __repr__(self): return 7
    echo(H())
    0
    """,
    ends="",
)
objects.add(
    "a-repr-that-calls-a-tool",
    """
    class H:
        def __repr__(self): return echo('inner')
    echo(H())
    0
    """,
)
objects.add(
    "a-hash-that-raises",
    """
    class H:
        def __hash__(self): raise RuntimeError
    echo([H()])
    0
    """,
    ends="",
)
objects.add(
    "equal-to-everything",
    """
    class H:
        def __eq__(self, o): return True
        def __hash__(self): return 0
    echo({H(): 1})
    0
    """,
    ends="",
)
objects.add(
    "a-length-that-lies",
    """
    class H(list):
        def __len__(self): return 2**62
        def __iter__(self):
            while True: yield 1
    echo(H())
    0
    """,
    limits=SandboxLimits(wall=1.0, memory=128 << 20),
)
objects.add(
    "a-dict-without-end",
    """
    class H(dict):
        def items(self):
            while True: yield 1, 2
        keys = items
    echo(H(a=1))
    0
    """,
    limits=SandboxLimits(wall=1.0, memory=128 << 20),
)
objects.add(
    "an-iterator-without-end",
    """
    import itertools; echo(itertools.count())
    0
    """,
    ends="",
)
objects.add(
    "a-generator",
    """
    echo(x for x in range(10**12))
    0
    """,
    ends="",
)
objects.add(
    "a-list-in-itself",
    """
    x = []
    x.append(x)
    echo(x)
    """,
    ends="ValueError",
    dies=False,
)
objects.add(
    "a-dict-in-itself",
    """
    x = {}
    x['x'] = {'y': [x]}
    echo(x)
    """,
    ends="ValueError",
    dies=False,
)
objects.add(
    "nested-too-deeply",
    """
    x = []
    for _ in range(5000): x = [x]
    echo(x)
    """,
    ends="ValueError",
    dies=False,
)
objects.add("a-million-arguments", "echo(*range(10**6))", ends="ValueError", dies=False)
objects.add(
    "arguments-named-like-python",
    """
    echo(**{'self': 1, '__class__': 2, 'args': 3, '': 4, '\\ud800': 5})
    0
    """,
    ends="",
)
objects.add(
    "a-subclass-of-text",
    """
    class S(str):
        def __str__(self): return 'x' * 10**9
        def __len__(self): return -1
    echo(S('a'))
    0
    """,
)
objects.add(
    "a-subclass-of-a-number",
    """
    class I(int):
        def __int__(self): return 'x'
        def __index__(self): return 2**10**6
    echo(I(5))
    0
    """,
)
objects.add("a-number-of-a-million-digits", "echo(10**10**5) != 10**10**5", ends="")
objects.add(
    "a-class-that-lies-about-itself",
    """
    class H:
        @property
        def __class__(self): return dict
    echo(H())
    0
    """,
    ends="",
)
objects.add(
    "a-class-whose-name-is-none",
    """
    H = type('H', (), {})
    H.__qualname__ = H.__name__ = 'x' * 10**6
    echo(H())
    0
    """,
)
objects.add(
    "a-class-that-raises-for-every-name",
    """
    class Meta(type):
        def __getattribute__(cls, name): raise RuntimeError(name)
    class H(metaclass=Meta): pass
    echo(H())
    0
    """,
    ends="RuntimeError",
)
objects.add(
    "a-zone-of-time-that-lies",
    """
    import datetime
    class Z(datetime.tzinfo):
        key = "../../../etc/passwd"
        def utcoffset(self, moment): return datetime.timedelta(hours=23)
        def tzname(self, moment): return "x" * 10**5
        def dst(self, moment): return None
    Z.__name__ = "ZoneInfo"
    echo(datetime.datetime(2020, 1, 1, tzinfo=Z()))
    0
    """,
)
objects.add(
    "an-exception-of-hostile-parts",
    """
    class E(Exception):
        args = property(lambda self: 1 / 0)
    echo(E())
    0
    """,
)
objects.add(
    "an-enumeration-of-hostile-parts",
    """
    import enum
    class E(enum.Enum):
        a = type('V', (), {'__repr__': lambda s: 1 / 0})()
    echo(E.a)
    0
    """,
)
objects.add(
    "changed-while-it-is-sent",
    """
    import threading
    x = list(range(1000))
    def change():
        for _ in range(100_000):
            x.append(1)
            x.pop(0)
    threading.Thread(target=change, daemon=True).start()
    for _ in range(50): echo(x)
    """,
)
objects.add(
    "many-calls-at-once",
    """
    import threading
    threads = [threading.Thread(target=lambda: [echo(i) for i in range(5)]) for _ in range(50)]
    for t in threads: t.start()
    for t in threads: t.join()
    """,
    ends="",
)
objects.add("a-tool-called-for-ever", "for i in range(1000): echo(i)", ends="", limits=SandboxLimits(wall=5.0))
objects.add(
    "a-tool-that-takes-its-time",
    """
    slow(0.5)
    while True: pass
    """,
    limits=SandboxLimits(wall=0.3),
    ends="TimeoutError",
)

FAMILIES = [pickles, objects]
