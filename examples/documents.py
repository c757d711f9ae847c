"""Questions about a collection of texts: a tool finds passages, the agent reads them and may search again."""

import math
import re
from collections import Counter

from actloop import CodeAgent, Tool
from model import choose_model

TEXTS = {
    "leave": "Employees have 28 days of leave in a year. Days that are left over lapse at the end of March.",
    "travel": "Journeys of up to four hours are made by train in second class. Flights need the consent of a manager.",
    "office": "The office is open from seven to twenty o'clock. Guests sign the book at the entrance.",
    "equipment": "Each employee gets a laptop and a screen. A laptop is replaced after four years, or when it breaks.",
}


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


class Search(Tool):
    """Ranks passages by BM25 (Robertson and Zaragoza, 2009, with k1 = 1.5 and b = 0.75)."""

    name = "search"
    description = "Finds the passages of the staff handbook that fit a question best, the best first."
    inputs = {"question": {"type": "string", "description": "Words to look for."}}  # noqa: RUF012
    output_type = "array"

    def setup(self) -> None:
        """Count the words once."""
        self.counts = {name: Counter(words(text)) for name, text in TEXTS.items()}
        self.length = sum(sum(count.values()) for count in self.counts.values()) / len(self.counts)

    def forward(self, question: str) -> list[str]:
        scores = {name: sum(self._weight(word, name) for word in words(question)) for name in TEXTS}
        best = sorted(TEXTS, key=lambda name: -scores[name])
        return [f"{name}: {TEXTS[name]}" for name in best[:2] if scores[name] > 0]

    def _weight(self, word: str, name: str) -> float:
        found = self.counts[name][word]
        having = sum(word in count for count in self.counts.values())
        rarity = math.log(1 + (len(TEXTS) - having + 0.5) / (having + 0.5))
        return rarity * found * 2.5 / (found + 1.5 * (0.25 + 0.75 * sum(self.counts[name].values()) / self.length))


with CodeAgent(tools=[Search()], model=choose_model()) as agent:
    answer = agent.run("After how many years does an employee get a new laptop?")
print(answer)
