"""Facts out of a text, as an object: an answer that does not fit the type goes back to the model with what to mend."""

import datetime

from pydantic import BaseModel, Field

from actloop import CodeAgent
from model import choose_model

LETTER = """\
Dear Ms Okafor, thank you for your order of 3 August 2026. The two desk lamps (39.90 euros each) left our house today;
the bookshelf for 129 euros will follow. Yours, Nordlicht Furniture."""


class Item(BaseModel):
    name: str
    count: int = Field(gt=0)
    price: float = Field(gt=0, description="Of one piece, in euros")


class Order(BaseModel):
    customer: str
    ordered: datetime.date
    items: list[Item]


with CodeAgent(tools=[], model=choose_model(), output_type=Order) as agent:
    order = agent.run(f"Read the order out of this letter.\n\n{LETTER}")
total = sum(item.count * item.price for item in order.items)
print(f"{order.customer} ordered for {total:.2f} euros on {order.ordered:%d %B %Y}.")
