"""A Gradio app for the tests: `python gradio_app.py PORT`."""

# pyright: basic

from __future__ import annotations

import sys

import gradio as gr


def greet(name, times=2):
    return name * int(times)


def paint(prompt, size):
    import numpy as np

    return np.full((int(size), int(size), 3), 200, dtype="uint8"), 42


def count(state, number):
    return (state or 0) + number, f"at {number}"


def fail(text):
    raise gr.Error("the shop is closed")


def stream(number):
    for index in range(int(number)):
        yield str(index)


def mix(choice, flag, data):
    return {"choice": choice, "flag": flag, "data": data}


def split(text):
    return text[:1], text[1:]


with gr.Blocks() as app:
    text, out, rest = gr.Textbox(label="Name"), gr.Textbox(), gr.Textbox()
    number = gr.Number(value=2, label="Times")
    size = gr.Number(value=8)
    image, file, sound = gr.Image(type="pil"), gr.File(), gr.Audio(type="filepath")
    state, seed, data = gr.State(), gr.Number(), gr.JSON()
    choice, flag = gr.Dropdown(["a", "b"], label="Pick", info="Which one"), gr.Checkbox()
    go = gr.Button().click
    go(greet, [text, number], out, api_name="greet", api_description="Says a name several times.")
    go(paint, [text, size], [image, seed], api_name="paint")
    go(count, [state, number], [state, out], api_name="count")
    go(fail, text, out, api_name="fail")
    go(stream, number, out, api_name="stream")
    go(mix, [choice, flag, data], data, api_name="mix")
    go(split, text, [out, rest], api_name="split")
    go(lambda x: x, file, file, api_name="file")
    go(lambda x: x, sound, sound, api_name="sound")
    go(lambda x: x.rotate(90, expand=True), image, image, api_name="turn")
    go(lambda x: f"{x.size}", image, out, api_name="size")

app.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), share=False, quiet=True)
