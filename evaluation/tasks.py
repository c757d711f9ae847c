"""Small tasks for a code agent, independent of any framework.

`TASKS` holds mappings with `name`, `prompt`, optional `vars` (variables given to the agent), optional `tools` (names in
`make_tools`) and `check(answer) -> bool`. `make_tools(tool)` builds the tools with a framework's own `tool` decorator.

`split` says what a task is for: prompts, examples and hints may be shaped with a look at the `given` and `dev` tasks;
`test` tasks only measure, and nobody changes a prompt because of how one of them went.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, NotRequired, TypedDict

Check = Callable[[Any], bool]
Split = Literal["given", "dev", "test"]


class Task(TypedDict):
    """One task; `split` is absent in task files of other makers."""

    name: str
    prompt: str
    check: Check
    vars: NotRequired[dict[str, Any]]
    tools: NotRequired[list[str]]
    split: NotRequired[Split]


def numbers(answer: Any) -> list[float]:
    """Every number in a text, thousands separators understood."""
    return [float(n.replace(",", "")) for n in re.findall(r"-?\d[\d,]*(?:\.\d+)?", str(answer))]


def number(target: float, tolerance: float = 0.02) -> Check:
    """Accepts the number itself, or a text whose last number it is."""

    def check(answer: Any) -> bool:
        if isinstance(answer, bool):
            return False
        if isinstance(answer, int | float):
            return abs(answer - target) <= tolerance
        found = numbers(answer)
        return bool(found) and abs(found[-1] - target) <= tolerance

    return check


def text(*words: str, without: tuple[str, ...] = ()) -> Check:
    """Accepts an answer that holds every one of `words` and none of `without`, whatever the case."""

    def check(answer: Any) -> bool:
        lowered = str(answer).lower()
        return all(w in lowered for w in words) and not any(w in lowered for w in without)

    return check


def integers(*target: int) -> Check:
    """Accepts an answer whose whole numbers are exactly these, in this order."""
    return lambda answer: [int(n) for n in re.findall(r"-?\d+", str(answer))] == list(target)


def ordered(*words: str) -> Check:
    """Accepts an answer that holds these words in this order, each once, whatever the case."""

    def check(answer: Any) -> bool:
        lowered = str(answer).lower()
        places = [lowered.find(w) for w in words]
        return -1 not in places and places == sorted(places) and all(lowered.count(w) == 1 for w in words)

    return check


COMPANIES = "company,units,revenue\nAcme,120,5400\nGlobex,75,9100\nInitech,310,8700\nUmbrella,42,1300\n"

STAFF = "name,department,salary\nMara,IT,5200\nOwen,Sales,4800\nZoe,IT,3900\nBelen,IT,4100\nIvo,HR,6000\nAdil,IT,4600\n"

LOG = """\
2024-05-02 08:00:01 INFO service started
2024-05-02 08:00:09 ERROR cannot open port 80
2024-05-02 08:01:30 WARNING slow answer (ERROR budget at 40%)
2024-05-02 08:02:11 INFO 12 requests
2024-05-02 08:05:45 ERROR database gone
2024-05-02 08:05:46 ERROR database gone
2024-05-02 08:07:00 INFO service stopped
"""

ORDER = """{"order": 5521, "customer": "B. Ito", "items": [{"article": "lamp", "count": 2, "each": 19.9},
{"article": "cable", "count": 5, "each": 3.25}, {"article": "desk", "count": 1, "each": 149.0}]}"""

CONTACTS = "Write to tina@example.org or, on Mondays, bo.lee@mail.test. Not valid: foo@, @bar. Boss: amy_k@example.org!"

READINGS = [
    {"city": "Graz", "celsius": 14.0},
    {"city": "Linz", "celsius": 19.5},
    {"city": "Graz", "celsius": 21.0},
    {"city": "Linz", "celsius": 10.5},
    {"city": "Wels", "celsius": 16.5},
    {"city": "Graz", "celsius": 16.0},
]

SETTINGS = "# server\nhost = 10.0.0.7\nport = 8443\n# old port = 8080\ntimeout = 30\nretries = 4\n"

GIVEN: list[Task] = [
    Task(name="arithmetic", prompt="What is 17*23+5?", check=number(396)),
    Task(name="letters", prompt="How many letters 'r' are in the word 'strawberry'?", check=number(3)),
    Task(name="primes", prompt="Compute the sum of all prime numbers below 100.", check=number(1060)),
    Task(
        name="fibonacci",
        prompt="Return the list of the first 10 Fibonacci numbers, starting with 0.",
        check=integers(0, 1, 1, 2, 3, 5, 8, 13, 21, 34),
    ),
    Task(
        name="fahrenheit",
        prompt="Convert 100 degrees Fahrenheit to Celsius, rounded to 2 decimals.",
        check=number(37.78),
    ),
    Task(name="reverse", prompt="Reverse the string 'code agent'.", check=text("tnega edoc")),
    Task(name="days", prompt="How many days are there between 2024-01-15 and 2024-03-01?", check=number(46)),
    Task(
        name="dedupe",
        prompt="Remove duplicates from [5, 3, 9, 3, 1, 5] and sort the result in ascending order.",
        check=integers(1, 3, 5, 9),
    ),
    Task(name="digits", prompt="What is the sum of the digits of 20 factorial?", check=number(54)),
    Task(
        name="csv",
        prompt="Which company has the highest revenue in the CSV text `data`? Return the company name.",
        vars={"data": COMPANIES},
        check=text("globex", without=("initech",)),
    ),
    Task(
        name="top_word",
        prompt="What is the most frequent word in the variable `text`?",
        vars={"text": "apple pear plum apple fig pear apple plum apple fig"},
        check=text("apple", without=("pear",)),
    ),
    Task(name="weather", prompt="How many degrees is it in Paris?", tools=["get_weather"], check=number(18)),
    Task(name="convert", prompt="Convert 250 USD to EUR.", tools=["convert_currency"], check=number(231.25)),
    Task(
        name="warmer",
        prompt="Which city is warmer right now, Paris or Oslo?",
        tools=["get_temperature"],
        check=text("oslo", without=("paris is",)),
    ),
    Task(
        name="price",
        prompt="What is the total price of 3 units of the product 'mouse'?",
        tools=["find_product"],
        check=number(73.5),
    ),
    Task(
        name="salary",
        prompt="What is the salary of the employee named Dana Cole?",
        tools=["lookup_employee", "get_salary"],
        check=number(68250),
    ),
    Task(
        name="tower",
        prompt="How tall is the Eiffel Tower in feet? Use 1 metre = 3.28084 feet.",
        tools=["encyclopedia"],
        check=number(1082.68, 0.8),
    ),
    Task(
        name="secret",
        prompt="One of the files contains a secret code. Find it and return the secret code.",
        tools=["list_files", "read_file"],
        check=text("x7-plum", without=("remember",)),
    ),
]

DEV: list[Task] = [
    Task(name="median", prompt="Find the median of [12, 7, 3, 25, 8, 19].", check=number(10)),
    Task(name="palindromes", prompt="How many whole numbers from 1 to 1000 are palindromes?", check=number(108)),
    Task(name="weekday", prompt="On which day of the week was 4 July 2023?", check=text("tuesday")),
    Task(
        name="order_total",
        prompt="What is the total cost of the order in the JSON text `order`?",
        vars={"order": ORDER},
        check=number(205.05),
    ),
    Task(
        name="log_errors",
        prompt="How many lines of level ERROR are in the log text `log`?",
        vars={"log": LOG},
        check=number(3),
    ),
    Task(
        name="stock_value",
        prompt="What is the whole stock worth (sum over all articles of units in stock times unit price)?",
        tools=["list_articles", "units_in_stock", "unit_price"],
        check=number(1383.5),
    ),
    Task(
        name="distance",
        prompt="How many miles is it from Bern to Basel? Use 1 kilometre = 0.621371 miles.",
        tools=["get_distance"],
        check=number(59.65, 0.06),
    ),
    Task(
        name="oldest",
        prompt="What is the name of the oldest user?",
        tools=["get_users"],
        check=text("henk", without=("1950",)),
    ),
    Task(
        name="exam",
        prompt="Which score did the student Nils Berg get in the exam?",
        tools=["find_student", "get_score"],
        check=number(87),
    ),
    Task(
        name="caesar",
        prompt="Decode the text 'khoor zruog': every letter was shifted forward by 3 places in the alphabet.",
        check=text("hello world"),
    ),
    Task(
        name="emails",
        prompt="Return the sorted list of all valid e-mail addresses in the variable `note`.",
        vars={"note": CONTACTS},
        check=ordered("amy_k@example.org", "bo.lee@mail.test", "tina@example.org"),
    ),
    Task(
        name="bounce",
        prompt="A ball falls from 10 metres and each time bounces back to 60% of the height before. "
        "How high does it get after the 5th bounce, in metres?",
        check=number(0.7776, 0.001),
    ),
    Task(
        name="meeting",
        prompt="In which room is the budget review? It says so in one of my messages.",
        tools=["list_messages", "read_message"],
        check=text("4.17", without=("2.08",)),
    ),
    Task(
        name="moving_average",
        prompt="Return the moving averages of window size 3 of the list `values`.",
        vars={"values": [4, 8, 15, 16, 23, 42]},
        check=lambda answer: numbers(answer) == [9, 13, 18, 27],
    ),
]

TEST: list[Task] = [
    Task(name="multiple", prompt="What is the least common multiple of 84 and 120?", check=number(840)),
    Task(
        name="vowels",
        prompt="How many vowels are in 'The quick brown fox jumps over the lazy dog'?",
        check=number(11),
    ),
    Task(
        name="compound",
        prompt="How much are 1500 euros after 7 years at 4% compound interest a year, rounded to 2 decimals?",
        check=number(1973.90),
    ),
    Task(name="leap", prompt="How many leap years were there from 1900 to 2000, both included?", check=number(25)),
    Task(
        name="collatz",
        prompt="Start with 27. If the number is even, halve it; if it is odd, triple it and add 1. "
        "How many such operations does it take to reach 1?",
        check=number(111),
    ),
    Task(name="roman", prompt="Write 1994 as a Roman numeral.", check=text("mcmxciv")),
    Task(name="minutes", prompt="How many minutes pass between 9:45 and 17:20 of the same day?", check=number(455)),
    Task(
        name="transpose",
        prompt="Transpose the matrix [[1, 2, 3], [4, 5, 6]] and return it as a list of lists.",
        check=integers(1, 4, 2, 5, 3, 6),
    ),
    Task(
        name="tank",
        prompt="A tank holds 50 litres. Every hour 8 litres flow in, and then 10% of what is in it is drained. "
        "How many litres does it hold after 6 hours, rounded to 2 decimals?",
        check=number(60.31),
    ),
    Task(
        name="anagrams",
        prompt="Which two words in the list `words` are anagrams of each other?",
        vars={"words": ["stone", "table", "river", "notes", "cloud", "brick"]},
        check=text("stone", "notes", without=("table", "river", "cloud", "brick")),
    ),
    Task(
        name="warmest",
        prompt="Which city in `readings` has the highest average temperature?",
        vars={"readings": READINGS},
        check=text("graz", without=("linz", "wels")),
    ),
    Task(
        name="csv_filter",
        prompt="From the CSV text `staff`, list the names of everyone in department IT who earns more than 4000, "
        "in alphabetical order.",
        vars={"staff": STAFF},
        check=lambda answer: ordered("adil", "belen", "mara")(answer) and text(without=("zoe", "owen", "ivo"))(answer),
    ),
    Task(
        name="port",
        prompt="Which port is set in the configuration text `settings`?",
        vars={"settings": SETTINGS},
        check=number(8443),
    ),
    Task(
        name="day_of_memo",
        prompt="How many days after 2025-01-01 is the deadline that is named in the variable `memo`?",
        vars={"memo": "Dear all, please hand in your reports no later than 12 March 2025. Thank you, Ria"},
        check=number(70),
    ),
    Task(
        name="flight",
        prompt="What is the number of the cheapest flight from LIS to OSL?",
        tools=["find_flights"],
        check=text("tp764", without=("sk410", "dy88", "189")),
    ),
    Task(
        name="pounds",
        prompt="What does the item 'kettle' cost in British pounds (GBP), rounded to 2 decimals?",
        tools=["price_in_dollars", "exchange_rate"],
        check=number(32.6, 0.011),
    ),
    Task(
        name="phone",
        prompt="What is the phone number of the manager of Mia's manager?",
        tools=["manager_of", "phone_of"],
        check=text("555-0193", without=("555-0111", "555-0142")),
    ),
    Task(
        name="record",
        prompt="What is the state of the record 'qx-7'?",
        tools=["get_record"],
        check=text("archived", without=("error", "ana")),
    ),
    Task(
        name="pages",
        prompt="What is the sum of the amounts of all bookings? They are spread over several pages.",
        tools=["get_page"],
        check=number(191),
    ),
    Task(
        name="density",
        prompt="How many inhabitants per square kilometre does Andorra have, rounded to 1 decimal?",
        tools=["lookup"],
        check=number(170.6, 0.06),
    ),
    Task(
        name="stations",
        prompt="What is the average reading of all stations that are not offline, in degrees?",
        tools=["list_stations", "get_reading"],
        check=number(16.0),
    ),
    Task(
        name="invoices",
        prompt="How many invoices are unpaid, and what is the sum of their amounts? Return both numbers.",
        tools=["get_invoices"],
        check=lambda answer: numbers(answer) == [3, 655.5],
    ),
]


def _marked(split: Split, tasks: list[Task]) -> list[Task]:
    return [{**task, "split": split} for task in tasks]


TASKS: list[Task] = [*_marked("given", GIVEN), *_marked("dev", DEV), *_marked("test", TEST)]


def make_tools(tool: Callable[[Callable[..., Any]], Any]) -> dict[str, Any]:
    """Every tool by its name, each made by `tool`, a framework's decorator."""
    made = [tool(function) for function in (*_given_tools(), *_dev_tools(), *_test_tools())]
    return {t.name: t for t in made}


def _given_tools() -> tuple[Callable[..., Any], ...]:
    def get_weather(city: str) -> str:
        """Returns the current weather in a city.

        Args:
            city: Name of the city.
        """
        return {"paris": "cloudy, 18 degrees C"}.get(city.lower(), "unknown city")

    def convert_currency(amount: float, source: str, target: str) -> float:
        """Converts an amount of money between currencies.

        Args:
            amount: Amount in the source currency.
            source: Three-letter code of the currency to convert from.
            target: Three-letter code of the currency to convert to.
        """
        return amount * {("USD", "EUR"): 0.925}[(source, target)]

    def get_temperature(city: str) -> float:
        """Returns the temperature of a city in degrees Celsius.

        Args:
            city: Name of the city.
        """
        return {"paris": 11.5, "oslo": 14.0}[city.lower()]

    def find_product(name: str) -> dict[str, Any]:
        """Returns what is known about a product.

        Args:
            name: Name of the product.
        """
        return {"sku": "M-22", "title": "mouse", "unit_price": 24.5, "stock": 12}

    def lookup_employee(name: str) -> str:
        """Returns a text record about an employee, with the employee id.

        Args:
            name: Full name.
        """
        known = "dana" in name.lower()
        return "Record: Dana Cole, dept=Sales, employee id is E-4471, active" if known else "no such employee"

    def get_salary(employee_id: str) -> int:
        """Returns the salary of an employee.

        Args:
            employee_id: Id such as 'E-1000'.
        """
        if employee_id != "E-4471":
            raise KeyError(f"unknown employee id: {employee_id!r}")
        return 68250

    def encyclopedia(query: str) -> str:
        """Looks a subject up and returns a short text.

        Args:
            query: What to look up.
        """
        return "The Eiffel Tower stands 330 metres tall in Paris and opened in 1889."

    def list_files() -> list[str]:
        """Returns the names of the files."""
        return ["a.txt", "notes.md", "todo.txt"]

    def read_file(name: str) -> str:
        """Returns the text of a file.

        Args:
            name: Name of the file.
        """
        return {
            "a.txt": "shopping: milk, eggs",
            "notes.md": "remember: the secret code is X7-PLUM",
            "todo.txt": "call Bob",
        }[name]

    return (
        get_weather,
        convert_currency,
        get_temperature,
        find_product,
        lookup_employee,
        get_salary,
        encyclopedia,
        list_files,
        read_file,
    )


def _dev_tools() -> tuple[Callable[..., Any], ...]:
    def list_articles() -> list[str]:
        """Returns the names of all articles."""
        return ["bolt", "hinge", "panel"]

    def units_in_stock(article: str) -> int:
        """Returns how many units of an article are in stock.

        Args:
            article: Name of the article.
        """
        return {"bolt": 400, "hinge": 61, "panel": 9}[article]

    def unit_price(article: str) -> float:
        """Returns the price of one unit of an article in euros.

        Args:
            article: Name of the article.
        """
        return {"bolt": 0.5, "hinge": 4.5, "panel": 101.0}[article]

    def get_distance(start: str, end: str) -> str:
        """Returns the distance between two towns.

        Args:
            start: Name of the first town.
            end: Name of the second town.
        """
        return f"The road from {start} to {end} is 96 km long."

    def get_users() -> list[dict[str, Any]]:
        """Returns a record of every user."""
        return [
            {"id": 7, "full_name": "Ada Pohl", "born": 1962},
            {"id": 9, "full_name": "Henk Visser", "born": 1950},
            {"id": 12, "full_name": "Mei Lin", "born": 1988},
        ]

    def find_student(name: str) -> dict[str, Any]:
        """Finds a student by name.

        Args:
            name: Full name of the student.
        """
        return {"student": name, "ref": "S-014", "year": 3}

    def get_score(ref: str) -> int:
        """Returns a student's score in the exam.

        Args:
            ref: Reference of the student.
        """
        if not str(ref).startswith("S-"):
            raise ValueError(f"not a reference of a student: {ref!r}")
        return {"S-014": 87}.get(ref, 41)

    def list_messages() -> list[dict[str, Any]]:
        """Returns the number and the subject of every message."""
        return [
            {"number": 31, "subject": "Lunch on Friday"},
            {"number": 32, "subject": "Budget review: room changed"},
            {"number": 33, "subject": "Printer is broken"},
        ]

    def read_message(number: int) -> str:
        """Returns the text of a message.

        Args:
            number: Number of the message.
        """
        return {
            31: "Pizza at noon in room 2.08?",
            32: "Hello, the budget review takes place in room 4.17 now, at 10 o'clock as planned.",
            33: "The printer on floor 2 is broken.",
        }[number]

    return (
        list_articles,
        units_in_stock,
        unit_price,
        get_distance,
        get_users,
        find_student,
        get_score,
        list_messages,
        read_message,
    )


def _test_tools() -> tuple[Callable[..., Any], ...]:
    def find_flights(origin: str, destination: str) -> list[dict[str, Any]]:
        """Returns the flights between two airports.

        Args:
            origin: Three-letter code of the airport of departure.
            destination: Three-letter code of the airport of arrival.
        """
        return [
            {"flight": "SK410", "price_eur": 214.0, "departs": "07:10"},
            {"flight": "TP764", "price_eur": 189.5, "departs": "12:40"},
            {"flight": "DY88", "price_eur": 240.0, "departs": "18:05"},
        ]

    def price_in_dollars(item: str) -> str:
        """Returns the price of an item in a shop.

        Args:
            item: Name of the item.
        """
        return f"{item}: $40.75 each, 14 in stock"

    def exchange_rate(currency: str) -> float:
        """Returns how much of a currency one US dollar buys.

        Args:
            currency: Three-letter code of the currency.
        """
        return {"GBP": 0.8, "EUR": 0.925}[currency]

    def manager_of(person: str) -> str:
        """Returns the name of the manager of a person.

        Args:
            person: Name of the person.
        """
        return {"mia": "Tom", "tom": "Ruth", "ruth": "nobody"}[person.lower()]

    def phone_of(person: str) -> str:
        """Returns the phone number of a person.

        Args:
            person: Name of the person.
        """
        return {"mia": "555-0111", "tom": "555-0142", "ruth": "555-0193"}[person.lower()]

    def get_record(key: str) -> dict[str, Any]:
        """Returns a record.

        Args:
            key: Key of the record.
        """
        if key != key.upper():
            raise ValueError(f"a key has capital letters only, such as 'AB-1'; got {key!r}")
        return {"key": key, "owner": "Ana", "state": "archived"}

    def get_page(number: int) -> dict[str, Any]:
        """Returns one page of bookings; the first page is number 1.

        Args:
            number: Number of the page.
        """
        return {
            1: {"bookings": [{"amount": 40}, {"amount": 25}], "next_page": 2},
            2: {"bookings": [{"amount": 70}], "next_page": 3},
            3: {"bookings": [{"amount": 11}, {"amount": 45}], "next_page": None},
        }[number]

    def lookup(subject: str) -> str:
        """Looks a subject up and returns a short text.

        Args:
            subject: What to look up.
        """
        return f"{subject} is a small state in the Pyrenees. It has 79,824 inhabitants and an area of 468 km2."

    def list_stations() -> list[str]:
        """Returns the names of all stations."""
        return ["north", "east", "south", "west"]

    def get_reading(station: str) -> str:
        """Returns the latest reading of a station.

        Args:
            station: Name of the station.
        """
        return {"north": "12.5 C", "east": "offline", "south": "19.0 C", "west": "16.5 C"}[station]

    def get_invoices() -> list[dict[str, Any]]:
        """Returns all invoices."""
        return [
            {"id": "R1", "amount": 120.0, "paid": True},
            {"id": "R2", "amount": 300.5, "paid": False},
            {"id": "R3", "amount": 55.0, "paid": False},
            {"id": "R4", "amount": 78.25, "paid": True},
            {"id": "R5", "amount": 300.0, "paid": False},
        ]

    return (
        find_flights,
        price_in_dollars,
        exchange_rate,
        manager_of,
        phone_of,
        get_record,
        get_page,
        lookup,
        list_stations,
        get_reading,
        get_invoices,
    )
