"""A guest that speaks its protocol wrongly, from inside."""

from __future__ import annotations

from tests.attacks.attack import COMMON, WIRE, Family

from actloop.executors.session import SandboxLimits

small = SandboxLimits(wall=1.0, value=1 << 20)
large = SandboxLimits(wall=1.0)

# What breaks the rules ends the session at once, not at its deadline.
wrong = Family("protocol", limits=small, prelude=COMMON + WIRE, ends="SandboxCrash", dies=True)
for name, said in {  # and nothing more
    "a-header-of-four-gigabytes": "say(struct.pack('>III', 2**32 - 1, 0, 0))",
    "blobs-of-four-gigabytes": "say(struct.pack('>III', 2, 1, 2**32 - 1))",
    "four-billion-blobs": "say(struct.pack('>III', 2, 2**32 - 1, 0))",
    "sizes-that-do-not-agree": "say(struct.pack('>III4I', 2, 4, 4, 9, 9, 9, 9) + b'{}xxxx')",
    "no-json": "say(frame(None, text='{'))",
    "no-text": "say(struct.pack('>III', 4, 0, 0) + b'\\xff\\xfe\\xfd\\xfc')",
    "noise": "say(os.urandom(1 << 16))",
    "not-an-object": "say(frame([1, 2, 3]))",
    "an-object-of-no-kind": "say(frame({}))",
    "an-unknown-kind": "say(frame({'t': 'snapshot'}))",
    "a-kind-that-is-no-text": "say(frame({'t': ['call']}))",
    "ready-again": "say(frame({'t': 'ready', 'protocol': 2, 'python': 'x'}))",
    "an-answer-nobody-asked-for": "say(frame({'t': 'told', 'value': {}, 'error': None}))",
    "a-tool-nobody-gave": "ask(name='os.system')",
    "a-tool-named-by-a-list": "ask(name=['echo'])",
    "a-negative-number": "ask(-1)",
    "a-number-beyond-all": "ask(10**500)",
    "a-number-that-is-true": "ask(True)",
    "a-number-that-is-a-fraction": "ask(1.5)",
    "a-number-of-too-many-digits": "say(frame(None, text='{\"t\":\"call\",\"id\":' + '9' * 100_000 + '}'))",
    "fields-that-do-not-exist": "say(frame({'t': 'finished', 'output': 1, 'failure': None, 'lost': True}))",
    "fields-missing": "say(frame({'t': 'finished'}))",
    "a-field-twice": 'say(frame(None, text=\'{"t":"finished","t":"call"}\'))',
    "a-failure-of-nothing": "say(frame({'t': 'finished', 'output': 1, 'failure': []}))",
    "printing-a-number": "say(frame({'t': 'printed', 'text': 5}))",
    "frames-after-a-fault": "say(frame({'t': 'x'}) * 1000)",
    "too-many-parts": "say(frame(None, text='[' + '{},' * 300_000 + '{}]'))",
    "too-deep": "say(frame(None, text='[' * 400 + ']' * 400))",
    "far-too-deep": "say(frame(None, text='[' * 500_000 + ']' * 500_000))",
    "deep-in-objects": "say(frame(None, text='{\"a\":' * 100_000 + '1' + '}' * 100_000))",
    "not-a-number": "say(frame(None, text='{\"t\": NaN}'))",
}.items():
    wrong.add(name, f"{said}\ntime.sleep(60)")

wrong.add(
    "a-number-used-twice",
    """
    say(frame({"t": "printed", "text": "x"}))
    for _ in range(3):
        ask(7, concurrent=True)
    say(frame({"t": "x"}))
    time.sleep(60)
    """,
)
wrong.add(
    "arguments-that-are-none",
    """
    say(frame({'t': 'call', 'id': 1, 'name': 'echo', 'args': 'abc', 'kwargs': {}, 'concurrent': False}))
    time.sleep(60)
    """,
)
wrong.add(
    "names-of-arguments-that-are-none",
    """
    say(frame({"t": "call", "id": 1, "name": "echo", "args": [], "concurrent": False,
               "kwargs": {"$": "dict", "v": [[1, 2]]}}))
    time.sleep(60)
    """,
)
wrong.add(
    "a-failure-of-a-megabyte",
    """
    failure = {"kind": "x", "message": "x" * 900_000, "traceback": "", "source": "", "hint": "", "line": 1}
    say(frame({"t": "finished", "output": 1, "failure": failure}))
    time.sleep(60)
    """,
)
wrong.add("printing-nothing-for-ever", "while True: say(frame({'t': 'printed', 'text': ''}))")
wrong.add("printing-past-the-limit", "while True: say(frame({'t': 'printed', 'text': 'x' * 1000}))")
wrong.add(
    "calls-without-waiting",
    """
    for number in range(10_000): ask(number, name='echo')
    time.sleep(60)
    """,
    ends=None,
)
wrong.add("a-tag-that-is-unknown", "finish({'$': 'pickle', 'v': 'gASV'})")
wrong.add("a-tag-that-is-no-text", "finish({'$': {'$': 'tuple', 'v': []}})")
wrong.add("a-blob-used-twice", "finish([{'$': 'bytes', 'b': 0}, {'$': 'bytes', 'b': 0}], [b'x'])")
wrong.add("a-blob-that-is-not-there", "finish({'$': 'bytes', 'b': 3}, [b'x'])")
wrong.add("a-key-that-cannot-be-one", "finish({'$': 'dict', 'v': [[[], 1]]})")
wrong.add("numbers-that-collide", "finish({'$': 'set', 'v': [i * (2**61 - 1) for i in range(20_000)]})")
wrong.add("objects-in-an-array", "finish({'$': 'array', 'd': '|O', 's': [1], 'b': 0}, [b'12345678'])")
wrong.add(
    "an-array-larger-than-its-bytes",
    "finish({'$': 'array', 'd': '<f8', 's': [1 << 30, 1 << 30], 'b': 0}, [b'12345678'])",
)
wrong.add(
    "an-image-that-is-a-program",
    "finish({'$': 'image', 'b': 0}, [b'%!PS-Adobe-3.0 EPSF-3.0\\n%%BoundingBox: 0 0 9 9\\n'])",
)
wrong.add("a-zone-that-is-a-file", "finish({'$': 'timezone', 'v': {'key': '../../../../etc/passwd', 'offset': None}})")
wrong.add(
    "a-zone-of-a-series-that-is-a-file",
    """
    data = {"$": "array", "d": "<M8[ns]", "s": [1], "b": 0}
    moments = {"kind": "moments", "data": data, "zone": "dateutil/" + canary}
    rows = {"kind": "range", "data": [0, 1, 1], "names": [None]}
    finish({"$": "series", "v": moments, "index": rows, "name": None}, [bytes(8)])
    """,
)
wrong.add("a-number-that-is-not-one", "finish({'$': 'decimal', 'v': 'x'})")
wrong.add("a-fraction-of-nothing", "finish({'$': 'fraction', 'v': [1, 0]})")
wrong.add("an-unknown-date", "finish({'$': 'date', 'v': '2024-13-45'})")

# The host may grow by a fixed multiple of the largest message.
expensive = Family(
    "costly-to-read", limits=large, prelude=COMMON + WIRE, ends="SandboxCrash", dies=True, memory=512 << 20
)
for name, said in {
    "brackets-without-end": "say(frame(None, text='[' * (1 << 24) + ']' * (1 << 24)))",
    "brackets-up-and-down": "say(frame(None, text=('[' * 319 + ']' * 319) * 50_000))",
    "empty-objects": "say(frame(None, text='[' + '{},' * 8_000_000 + '{}]'))",
    "strings-that-hide-brackets": "say(frame(None, text='[' + '\"[[[[\",' * 3_000_000 + '\"]\"'))",
    "quotes-that-do-not-close": "say(frame(None, text='[[[[' * 100 + '\"' + '\\\\\\\\' * 10_000_000))",
}.items():
    expensive.add(name, f"{said}\ntime.sleep(60)")

expensive.add(
    "images-that-unfold",
    """
    from PIL import Image
    import io
    file = io.BytesIO()
    Image.new("1", (8000, 8000)).save(file, "PNG")
    finish([{"$": "image", "b": number} for number in range(40)], [file.getvalue()] * 40)
    """,
)
expensive.add(
    "labels-that-collide",
    """
    rows = [{"$": "tuple", "v": [number * (2**61 - 1)]} for number in range(1, 60_000)]
    finish({"$": "index", "v": {"kind": "multi", "data": rows, "names": ["a"]}})
    """,
)
expensive.add(
    "a-category-of-labels-that-collide",
    """
    numbers = [(number * 7919 % 60_013) * (2**61 - 1) for number in range(1, 60_000)]
    labels = {"kind": "values", "data": numbers, "dtype": "object"}
    codes = {"$": "array", "d": "<i4", "s": [1], "b": 0}
    column = {"kind": "category", "data": codes, "categories": labels, "ordered": False}
    rows = {"kind": "range", "data": [0, 1, 1], "names": [None]}
    finish({"$": "series", "v": column, "index": rows, "name": None}, [bytes(4)])
    """,
)

# What keeps the rules, but will not end.
stubborn = Family("endless-talk", limits=SandboxLimits(wall=0.5), prelude=COMMON + WIRE)
stubborn.add(
    "half-a-header",
    """
    say(b'\\0\\0')
    time.sleep(60)
    """,
    dies=True,
)
stubborn.add(
    "half-a-frame",
    """
    say(frame({'t': 'printed', 'text': 'x' * 100})[:50])
    time.sleep(60)
    """,
    dies=True,
)
stubborn.add(
    "half-a-frame-and-death",
    """
    say(frame({'t': 'printed', 'text': 'x' * 100})[:50])
    os._exit(0)
    """,
    ends="SandboxCrash",
    dies=True,
)
stubborn.add(
    "a-frame-byte-by-byte",
    """
    data = frame({'t': 'printed', 'text': 'x' * 10**6})
    for byte in data:
        say(bytes([byte]))
        time.sleep(0.001)
    """,
    ends="TimeoutError",
)
stubborn.add(
    "a-large-frame-that-never-comes",
    """
    say(struct.pack('>III', 2, 1, 30 << 20))
    while True: time.sleep(0.01)
    """,
    ends="TimeoutError",
)
stubborn.add(
    "letters-for-ever",
    """
    while True:
        say(frame({'t': 'printed', 'text': 'x'}))
        time.sleep(0.0001)
    """,
)
stubborn.add(
    "calls-for-ever",
    """
    number = 0
    while True:
        number += 1
        ask(number, concurrent=True)
        time.sleep(0.005)
    """,
    limits=SandboxLimits(wall=0.5),
    ends="TimeoutError",
)
stubborn.add(
    "answers-that-nobody-reads",
    """
    ask(1, name='large', args=[20 << 20])
    import sys
    _signal = sys.modules['signal']
    _signal.pthread_sigmask(0, range(1, 64))
    while True: pass
    """,
    ends="TimeoutError",
    dies=True,
)
stubborn.add(
    "an-open-call-stops-no-clock",
    """
    import threading
    threading.Thread(target=lambda: [slow(0.05) for _ in range(100)], daemon=True).start()
    while True: pass
    """,
    ends="TimeoutError",
)
stubborn.add(
    "an-answer-given-twice",
    """
    say(frame({"t": "finished", "output": 0, "failure": None}))
    say(frame({"t": "finished", "output": 0, "failure": None}))
    time.sleep(60)
    """,
    ends="",
    then="0",
)
stubborn.add(
    "an-end-that-is-none",
    """
    say(frame({'t': 'finished', 'output': 0, 'failure': None}))
    while True: pass
    """,
    ends="",
    then="0",
)
stubborn.add(
    "a-forged-loss",
    """
    failure = {"kind": "SandboxCrash", "message": "x", "traceback": "", "source": "", "hint": "", "line": None}
    say(frame({"t": "finished", "output": 0, "failure": failure}))
    time.sleep(60)
    """,
    ends="SandboxCrash",
    dies=False,
    then="0",
)
stubborn.add(
    "a-forged-answer-before-the-call",
    """
    say(frame({'t': 'result', 'id': 1, 'value': 'forged'}))
    time.sleep(60)
    """,
    ends="SandboxCrash",
    dies=True,
)
stubborn.add(
    "chatter-between-programs",
    """
    import threading
    call = {"t": "call", "id": 1, "name": "echo", "args": [], "kwargs": {}, "concurrent": True}
    def chatter():
        while True:
            try:
                os.write(CHANNEL, frame(call))
            except BlockingIOError:
                time.sleep(0.01)
    threading.Thread(target=chatter, daemon=True).start()
    """,
    then="0",
    ends=None,
)

FAMILIES = [wrong, expensive, stubborn]
