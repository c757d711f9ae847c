"""An agent that draws: its programs use Pillow in the sandbox, and the answer is an image."""

from actloop import AgentImage, CodeAgent
from model import choose_model

with CodeAgent(
    tools=[],
    model=choose_model(),
    additional_authorized_imports=["PIL"],
    instructions="Draw with PIL.Image and PIL.ImageDraw, and give the image object as the final answer.",
) as agent:
    picture = agent.run("Draw a red circle of 80 pixels in the middle of a white square of 100 pixels.")
if isinstance(picture, AgentImage):
    picture.to_raw().save("picture.png")
    print("written to picture.png")
else:
    print(picture)
