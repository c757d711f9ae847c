"""Attacks in what Monty has of Python: its own files and clock, its prelude, its messages, its interpreter.

Whatever a program ends with counts as got hold of here, as in the kernel sandbox.
"""

from __future__ import annotations

from tests.attacks.attack import Family

from actloop.executors.session import SandboxLimits

TRY = '''
def attempt(action):
    """What an action gives, or nothing if it fails; a name that is not there is a fault of the attack."""
    try:
        return action()
    except (OSError, AttributeError, RuntimeError, TypeError, ValueError, KeyError, MemoryError):
        return None
'''

SPEAK = '''
import json, sys

def send(text):
    """A message to the host in place of the prelude's, and the turn."""
    print(__actloop_settings["mark"] + text, file=sys.stderr)
    return __actloop_call()

def ask(name="echo", args=(), kwargs={}, later=False):
    """A call to the host in place of the prelude's."""
    return send(json.dumps({"name": name, "later": later, "args": args, "kwargs": kwargs}))

def refused(action, *kinds):
    """Whether the host refuses it."""
    try:
        action()
    except (RuntimeError, TypeError, ValueError):
        return True
    return False
'''
"""Defined where a program speaks to the host past the prelude."""

HOSTILE = SandboxLimits(wall=2.0, memory=128 << 20, value=1 << 20)


def family(name: str, **options: object) -> Family:
    return Family(name, **{"platform": "monty", "prelude": TRY, "limits": HOSTILE, **options})


files = family("files", control=True)
for _name, _code in {
    "open": "open(canary).read()",
    "open-bytes": "open(canary, 'rb').read()",
    "read-text": "pathlib.Path(canary).read_text()",
    "read-bytes": "pathlib.Path(canary).read_bytes()",
    "by-a-climb": "open('/tmp/../' + '../' * 20 + canary[1:]).read()",
    "by-a-path-of-parts": "pathlib.Path('/', *canary.split('/')).read_text()",
    "does-it-exist": "pathlib.Path(canary).exists() or os.path.exists(canary)",
    "is-it-a-file": "pathlib.Path(canary).is_file()",
    "how-large-is-it": "os.stat(canary).st_size",
    "list-a-folder": "os.listdir(folder)",
    "walk-a-folder": "list(pathlib.Path(folder).iterdir())",
    "where-it-is": "pathlib.Path('.').resolve() and os.listdir('.')",
    "the-hosts-users": "open('/etc/passwd').read()",
    "the-environment": "os.environ[secret_name]",
    "the-environment-by-name": "os.getenv(secret_name)",
    "all-of-the-environment": "dict(os.environ)",
}.items():
    files.add(_name, f"import os, pathlib\nattempt(lambda: {_code})")
for _name, _code in {
    "write": "open(canary, 'w').write('x')",
    "append": "open(canary, 'a').write('x')",
    "write-text": "pathlib.Path(canary).write_text('x')",
    "a-new-file": "pathlib.Path(folder + '/new').write_bytes(b'x')",
    "a-new-folder": "os.mkdir(folder + '/new') or True",
    "remove": "os.remove(canary) or True",
    "remove-by-its-path": "pathlib.Path(canary).unlink() or True",
    "rename": "os.rename(canary, folder + '/other') or True",
}.items():
    files.add(_name, f"import os, pathlib\nattempt(lambda: {_code})", control=False)  # each would change the host

proc = family("proc", control=True)
proc.add("environment-of-the-host", "attempt(lambda: open(f'/proc/{host}/environ', 'rb').read())")
proc.add("its-own-maps", "attempt(lambda: open('/proc/self/maps').read())")
proc.add("root-of-the-host", "attempt(lambda: open(f'/proc/{host}/root{canary}').read())")
proc.add("who-runs", "import os\nattempt(lambda: [name for name in os.listdir('/proc') if name.isdigit()])")

devices = family("devices", control=True)
devices.add("randomness-of-the-host", "attempt(lambda: open('/dev/urandom', 'rb').read(8))")
devices.add("the-terminal", "attempt(lambda: open('/dev/tty', 'w').write('x'))", control=False)
devices.add("a-device-without-end", "attempt(lambda: open('/dev/zero', 'rb').read(16))")

hops = family("module-hops", control=True)
hops.add("random-to-os", "import random\nattempt(lambda: random._os.listdir(folder))")
hops.add("sys-modules", "import sys\nattempt(lambda: sys.modules['os'].environ[secret_name])")
hops.add("a-pathlib-that-keeps-os", "import pathlib\nattempt(lambda: pathlib.os.listdir(folder))")
hops.add("json-to-codecs", "import json\nattempt(lambda: json.codecs.builtins.open(canary).read())")
hops.add("asyncio-to-subprocess", "import asyncio\nattempt(lambda: asyncio.subprocess.subprocess.os.listdir(folder))")
hops.add("a-loader", "import json\nattempt(lambda: json.__loader__.get_data(canary))")
hops.add("code-from-text", "attempt(lambda: eval('open(canary).read()'))")
hops.add(
    "statements-from-text",
    "found = []\nattempt(lambda: exec('import os\\nfound.append(os.environ[secret_name])'))\nfound",
)

dunders = family("dunder-chains", control=True)
dunders.add("all-subclasses-of-object", "attempt(lambda: ().__class__.__base__.__subclasses__())")
dunders.add("from-a-type", "attempt(lambda: type(0).__mro__[-1].__subclasses__())")
dunders.add("builtins-behind-a-builtin", "attempt(lambda: print.__self__.__import__('os').listdir(folder))")
dunders.add("globals-of-a-function", "def f(): pass\nattempt(lambda: f.__globals__['__builtins__'])")
dunders.add("code-of-a-function", "def f(): pass\nattempt(lambda: f.__code__.co_code)")
dunders.add(
    "cells-of-a-tool", "def make(x):\n    return lambda: x\nattempt(lambda: make(1).__closure__[0].cell_contents)"
)
dunders.add("the-dict-of-a-module", "import math\nattempt(lambda: math.__dict__)")
dunders.add("by-pieces", "attempt(lambda: getattr((), '__cl' + 'ass__'))")
dunders.add("a-method-of-its-class", "class C:\n    def f(self): pass\nattempt(lambda: C().f.__func__.__globals__)")

bindings = family("unchecked-binding", control=True)
bindings.add(
    "augmented", "def f(): pass\ndef take():\n    f.__globals__ |= {}\n    return True\nattempt(take)", control=False
)
bindings.add("a-pattern", "match print:\n    case object(__self__=found): pass\n    case _: found = None\nfound")
bindings.add("a-loop", "class H: pass\nimport os\nfor H.os in [os]: pass\nattempt(lambda: H.os.listdir(folder))")
bindings.add("a-with", "def take():\n    with open(canary) as file:\n        return file.read()\nattempt(take)")

indirect = family("indirect-getattr", control=True)
indirect.add("map", "attempt(lambda: list(map(open, [canary]))[0].read())")
indirect.add("partial", "import functools\nattempt(lambda: functools.partial(open, canary)().read())")
indirect.add("a-sort-key", "attempt(lambda: sorted([canary], key=lambda path: open(path).read()))")
indirect.add("reduce", "import functools, os\nattempt(lambda: functools.reduce(getattr, ['environ'], os)[secret_name])")
indirect.add("a-default", "def f(read=open):\n    return read(canary).read()\nattempt(f)")

smuggling = family("smuggling", control=True)
smuggling.add("a-dict-of-callables", "attempt(lambda: {1: open}[1](canary).read())")
smuggling.add(
    "an-attribute", "class C:\n    def __init__(self): self.go = open\nattempt(lambda: C().go(canary).read())"
)
smuggling.add("a-decorator", "def run(f): return attempt(f)\n@run\ndef got(): return open(canary).read()\ngot")
smuggling.add(
    "a-special-method",
    "class C:\n    def __enter__(self): return open(canary).read()\n    def __exit__(self, *error): return True\n"
    "def take():\n    with C() as got: return got\nattempt(take)",
)

formats = family("format-strings", control=True)
formats.add("attributes", "def f(): pass\nattempt(lambda: '{0.__globals__}'.format(f))")
formats.add("items", "import os\nattempt(lambda: '{0.environ[' + secret_name + ']}'.format(os))", control=False)
formats.add("the-class", "attempt(lambda: '{0.__class__.__mro__}'.format(0))")
formats.add("a-nested-width", "attempt(lambda: '{:{}}'.format(1, 10**12))", control=False)

frames = family("frames-and-tracebacks", control=True)
frames.add(
    "a-traceback",
    "def climb():\n    try:\n        1 / 0\n    except ZeroDivisionError as error:\n"
    "        return error.__traceback__.tb_frame.f_globals\nattempt(climb)",
)
frames.add("a-coroutine", "async def c(): pass\none = c()\nfound = attempt(lambda: one.cr_frame)\nawait one\nfound")
frames.add("a-frame-of-the-system", "import sys\nattempt(lambda: sys._getframe(0).f_globals)")

processes = family("new-processes", control=False)
processes.add("a-command", "import os\nattempt(lambda: os.system('true') == 0)", control=True)
processes.add("a-fork", "import os\nattempt(lambda: os.fork() or True)")
processes.add("by-asyncio", "import asyncio\nattempt(lambda: asyncio.create_subprocess_exec('true'))")

signals = family("signals", control=False)
signals.add("kill-a-process", "import os\nattempt(lambda: os.kill(victim, 9) is None)")

network = family("network", control=False)
network.add("a-connection", "import asyncio\nattempt(lambda: asyncio.open_connection('127.0.0.1', tcp))")
network.add("a-file-that-is-an-address", "attempt(lambda: open(f'/dev/tcp/127.0.0.1/{tcp}', 'w').write('x'))")

memory = family("memory-bombs", ends="MemoryError")
memory.add("a-list", "[0] * 10**11")
memory.add("a-list-that-grows", "kept = []\nwhile True: kept.append('x' * (1 << 20) + str(len(kept)))")
memory.add("a-string-that-doubles", "text = 'x'\nwhile True: text += text")
memory.add("bytes", "b'x' * 10**11")
memory.add("a-wide-format", "f'{1:>{10**11}}'")
memory.add("a-shift", "1 << 10**11")
memory.add("a-dict", "{number: str(number) * 9 for number in range(10**9)}", ends=None)
memory.add("a-replacement", "('x' * 10**5).replace('x', 'y' * 10**5)")
memory.add("a-join", "('y' * 10**5).join(['x'] * 10**5)")
memory.add("a-table-in-json", "import json\njson.dumps(['x' * 10**5] * 10**5)", ends=None)
memory.add("a-justified-text", "'x'.ljust(10**11)")
memory.add("combinations", "import itertools\nlist(itertools.combinations(range(200), 8))", ends=None)

time_ = family("processor-bombs", wall=0.5, ends="TimeoutError", dies=True)
time_.add("a-loop", "while True: pass")
time_.add("everything-is-caught", "while True:\n    try:\n        while True: pass\n    except BaseException: pass")
time_.add("a-finally", "def f():\n    try:\n        while True: pass\n    finally:\n        while True: pass\nf()")
time_.add("a-sleep", "import time\ntime.sleep(1000)")
time_.add("a-sleep-that-is-awaited", "import asyncio\nawait asyncio.sleep(1000)")
time_.add("calls-of-calls", "def f(n): return f(n - 1) + f(n - 2) if n > 1 else n\nf(60)")
time_.add("a-comprehension", "sum([1 for _ in range(10**12)])", ends=None)

native = family("stuck-in-c", wall=0.5)
native.add("a-regular-expression", "import re\nre.match('(a+)+$', 'a' * 40 + 'b')")
native.add("an-expression-of-nested-counts", "import re\nre.match('((a{1,99}){1,99}){1,99}b', 'a' * 5000)")
native.add("an-expression-with-references", "import re\nre.match(r'(a*)*\\1*\\1*\\1*b', 'a' * 500)")
native.add("a-power", "x = 9 ** 9 ** 8\nNone")
native.add("a-power-of-a-power", "x = pow(3, 10**7) * pow(5, 10**7)\nNone")
native.add("digits", "x = str(7 ** 2_000_000)\nNone")
native.add("a-product", "import itertools\nfor _ in itertools.product(range(1000), repeat=5): pass")
native.add("a-range", "x = sum(range(10**15))\nNone")
native.add("a-factorial", "import math\nx = math.factorial(10**7)\nNone")
native.add("a-sort", "x = sorted([str(n * 7919 % 10**6) for n in range(10**6)])\nNone")
native.add("keys-that-collide", "x = {n * (2**61 - 1): n for n in range(50_000)}\nNone")
native.add("a-search-in-vain", "x = [('a' * 10**5 + 'b') in ('a' * 10**6) for _ in range(1000)]\nNone")

deep = family("crashes", ends=None)
deep.add("recursion", "def f(n): return f(n + 1)\nf(0)", ends="RecursionError", dies=False)
deep.add("recursion-through-a-method", "class C:\n    def __eq__(self, o): return self == o\nC() == C()")
deep.add("recursion-through-a-sort", "def f(x): return sorted([x], key=f)\nf(1)")
deep.add("brackets", "eval('[' * 100_000 + ']' * 100_000)", ends="SyntaxError")
deep.add("minuses", "eval('-' * 1_000_000 + '1') and None", ends="SyntaxError")
deep.add("attributes", "x = 1\neval('x' + '.a' * 500_000)")
deep.add("a-list-in-a-list", "x = []\nfor _ in range(10**6): x = [x]\nrepr(x)[:0]")
deep.add("two-deep-lists-compared", "x = []\ny = []\nfor _ in range(10**5): x, y = [x], [y]\n(x == y) and None")
deep.add("a-deep-table-in-json", "import json\njson.loads('[' * 10**6 + ']' * 10**6)")
deep.add("a-deep-table-in-toml", "import tomllib\ntomllib.loads('a = ' + '[' * 10**5 + ']' * 10**5)")
deep.add("a-copy-of-a-deep-list", "import copy\nx = []\nfor _ in range(10**5): x = [x]\ncopy.deepcopy(x) and None")
deep.add("an-expression-of-groups", "import re\nre.compile('(' * 50_000 + ')' * 50_000) and None")
deep.add("a-hash-of-a-deep-tuple", "x = ()\nfor _ in range(10**5): x = (x,)\nhash(x) and None")
deep.add("an-f-string-in-an-f-string", "eval('f\"{' * 200 + '1' + '}\"' * 200) and None", ends="SyntaxError")

output = family("output-floods", ends=None)
output.add("for-ever", "while True: print('x' * 1000)", ends="TimeoutError", wall=0.5)
output.add(
    "to-the-error-stream", "import sys\nwhile True: print('x' * 1000, file=sys.stderr)", ends="TimeoutError", wall=0.5
)
output.add("one-huge-print", "print('x' * (60 << 20))")
output.add("a-separator", "print(*range(1000), sep='x' * 10**5)")
output.add("half-a-message-for-ever", "import sys\nprint('\\x1e' * 10**6, file=sys.stderr, end='')")
output.add("a-huge-error", "raise ValueError('x' * (20 << 20))", ends="ValueError", dies=False)
output.add("a-huge-value", "['x' * 100] * 10**6", yields=True)
output.add("a-value-of-many-parts", "[[] for _ in range(10**6)]", yields=True)

arguments = family("hostile-arguments", ends=None)
arguments.add("a-flood-of-keywords", "attempt(lambda: echo(**{f'k{n}': n for n in range(200_000)}))\nNone")
arguments.add("a-flood-of-arguments", "attempt(lambda: echo(*range(10**6)))\nNone")
arguments.add(
    "names-that-are-none", "attempt(lambda: echo(**{'': 1, '__class__': 2, 'self': 3, '\\0': 4, 'a b': 5}))\nNone"
)
arguments.add("a-list-in-itself", "x = []\nx.append(x)\nattempt(lambda: echo(x))")
arguments.add("a-number-of-a-million-digits", "attempt(lambda: echo(10**10**6))\nNone")
arguments.add("a-tag-of-the-codec", "attempt(lambda: echo({'$': 'bytes', 'b': 'AAAA'})) != {'$': 'bytes', 'b': 'AAAA'}")
arguments.add(
    "a-class-under-a-known-name",
    "class Path:\n    def __repr__(self): return canary\nstr(attempt(lambda: echo(Path())))[:0]",
)
arguments.add(
    "a-dataclass-with-the-hosts-names",
    "from dataclasses import dataclass\n@dataclass\nclass D:\n    record_type: str = 'os.system'\n"
    "    __reduce__: str = 'x'\n    model_dump: int = 1\nstr(attempt(lambda: echo(D())))[:0]",
)
arguments.add(
    "a-repr-without-end", "class C:\n    def __repr__(self): return 'x' * 10**8\nattempt(lambda: echo(C()))\nNone"
)
arguments.add(
    "a-repr-that-calls-a-tool",
    "class C:\n    def __repr__(self): return str(echo('x'))\nattempt(lambda: echo(C()))\nNone",
)
arguments.add("a-tool-as-a-sort-key", "attempt(lambda: sorted([2, 1], key=echo))\nNone")
arguments.add("a-tool-called-for-ever", "for number in range(2000): echo(number)", wall=2.0)

turns = family("outliving-the-snippet", ends="")
turns.add("a-tool-is-replaced", "echo = lambda *a: 'forged'\nNone", then="None")
turns.add(
    "the-prelude-is-replaced",
    "__actloop_use = __actloop_take = __actloop_last = lambda *a: 'forged'\nNone",
    then="None",
)
turns.add(
    "builtins-are-replaced", "len = isinstance = type = repr = str = print = lambda *a, **k: 7\nNone", then="None"
)
turns.add(
    "the-mark-is-another", "__actloop_settings['mark'] = 'x'\n__actloop_settings['limit'] = 10**12\nNone", then="None"
)
turns.add(
    "a-task-that-goes-on",
    "import asyncio\nasync def c():\n    await asyncio.sleep(100)\nkept = c()\nNone",
    then="kept = None",
)
turns.add(
    "variables-that-lie",
    "__actloop_tell = __actloop_share = lambda *a: print('x')\nlocals = lambda: {}\nNone",
    then="None",
)
turns.add("memory-that-stays", "kept = 'x' * (90 << 20)\nNone", then="more = attempt(lambda: 'y' * (90 << 20))\nmore")

protocol = family("protocol", prelude=TRY + SPEAK, ends="")
for _name, _code in {
    "a-tool-nobody-gave": "ask('os.system', ['true'])",
    "a-tool-that-is-a-list": "ask(['echo'])",
    "a-tool-of-the-host": "ask('__import__', ['os'])",
    "arguments-that-are-none": "ask('echo', 'abc')",
    "keywords-that-are-none": "ask('echo', [], [1])",
    "keywords-that-are-no-text": 'send(\'{"name":"echo","later":false,"args":[],"kwargs":{"$":"dict","v":[[1,2]]}}\')',
    "later-that-is-a-number": "ask('echo', [], {}, 1)",
    "nothing": "__actloop_call()",
    "no-json": "send('{')",
    "not-an-object": "send('[1, 2]')",
    "a-number-that-is-none": 'send(\'{"name":"echo","later":false,"args":[NaN],"kwargs":{}}\')',
    "too-deep": "send('[' * 500 + ']' * 500)",
    "far-too-deep": "send('[' * 200_000 + ']' * 200_000)",
    "too-many-parts": "send('[' + '{},' * 150_000 + '{}]')",
    "past-the-limit": "ask('echo', ['x' * (2 << 20)])",
    "an-unknown-tag": "ask('echo', [{'$': 'pickle', 'v': 'gASV'}])",
    "a-tag-that-is-no-text": "ask('echo', [{'$': ['tuple'], 'v': []}])",
    "an-image-that-is-a-program": "ask('echo', [{'$': 'image', 'b': 'JSFQUy1BZG9iZQ=='}])",
    "an-array-of-objects": "ask('echo', [{'$': 'array', 'd': '|O', 's': [1], 'b': 'MTIzNDU2Nzg='}])",
    "a-zone-that-is-a-file": "ask('echo', [{'$': 'timezone', 'v': {'key': '../../../etc/passwd', 'offset': None}}])",
    "numbers-that-collide": "ask('echo', [{'$': 'set', 'v': [n * (2**61 - 1) for n in range(20_000)]}])",
    "a-fraction-of-nothing": "ask('echo', [{'$': 'fraction', 'v': [1, 0]}])",
    "a-key-that-cannot-be-one": "ask('echo', [{'$': 'dict', 'v': [[[], 1]]}])",
    "a-line-within": 'send(\'{"name":\\n"echo"}\')',
    "a-number-of-too-many-digits": """send('{"name":"echo","kwargs":{},"later":false,"args":[' + '9' * 10**5 + ']}')""",
}.items():
    protocol.add(_name, f"not refused(lambda: {_code})")
protocol.add(
    "a-value-that-is-forged-wrongly",
    "print(__actloop_settings['mark'] + '{\"value\": {\"$\": 5}}', file=sys.stderr)",
    ends=None,
)
protocol.add("a-value-of-a-class", "print(__actloop_settings['mark'] + '[1]', file=sys.stderr)", ends=None)

talk = family("endless-talk", prelude=TRY + SPEAK, wall=0.5)
talk.add("calls-for-ever", "while True: ask('echo', [1])", ends=None)
talk.add("open-calls-without-end", "for n in range(5000): ask('echo', [n], {}, True)", ends=None)
talk.add(
    "messages-without-a-turn",
    "while True: print(__actloop_settings['mark'] + 'x' * 1000, file=sys.stderr)",
    ends="TimeoutError",
)
talk.add(
    "a-message-without-an-end",
    "print(__actloop_settings['mark'], end='', file=sys.stderr)\n"
    "while True: print('x' * 1000, end='', file=sys.stderr)",
    ends="TimeoutError",
)

reading = family("deserialisation")
reading.add("a-number-beyond-all", "import json\nattempt(lambda: json.loads('1e999999999'))\nNone")
reading.add("digits-without-end", "import json\nattempt(lambda: json.loads('9' * 10**6))\nNone")
reading.add("bytes-that-are-a-pickle", "echo(b'cos\\nmkdir\\n(S\\'' + folder.encode() + b'/owned\\'\\ntR.')\n0")
reading.add(
    "a-decimal-that-unfolds",
    "import decimal\nattempt(lambda: echo(int(decimal.Decimal('1e9999999'))))\nNone",
    ends=None,
)
reading.add(
    "a-date-beyond-all",
    "import datetime\nattempt(lambda: echo(datetime.date(9999, 12, 31) + datetime.timedelta(9)))\nNone",
)

FAMILIES = [
    *(files, proc, devices, hops, dunders, bindings, indirect, smuggling, formats, frames, processes, signals, network),
    *(memory, time_, native, deep, output, arguments, turns, protocol, talk, reading),
]
