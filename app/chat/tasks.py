"""Requests that are no part of a talk: titles, tags, summaries, drafts that a front end asks for on the side. Pure.

Front ends ask whatever model is chosen, so a character would be asked for a title and remember it. Nothing in the
protocol tells such a request from talk, except what the front end writes by default. So this is a table of openings,
each long enough that nobody says it by chance; a reworded one is talk, unless the client says `moodline.task` itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from models.scene import Message

Place = Literal["alone", "last"]


@dataclass(frozen=True, slots=True)
class Opening:
    """How a task of `client` begins; `also` is in it, too.

    It stands `alone`, with at most system messages beside it, or `last`, after the talk it is about.
    """

    client: str
    kind: str
    place: Place
    begins: str
    also: str = ""


OPENINGS: tuple[Opening, ...] = (
    # open_webui/config.py: title, tags, follow-ups, queries, image prompt, autocompletion. Admins reword and translate
    # them; heading and variable stay.
    Opening("Open WebUI", "task", "alone", "### Task:", "</chat_history>"),
    Opening("Open WebUI", "task", "alone", "### 任务：", "</chat_history>"),
    Opening("Open WebUI", "task", "alone", "### 任务:", "</chat_history>"),
    Opening("Open WebUI", "emoji", "alone", "Your task is to reflect the speaker's likely facial expression through a"),
    Opening(
        "Open WebUI", "merge", "alone", "You have been provided with a set of responses from various models to the"
    ),
    Opening(
        "Open WebUI", "tools", "alone", "Available Tools: ", "Your task is to choose and return the correct tool(s)"
    ),
    # danny-avila/agents src/utils/title.ts, LibreChat api/server/services/Endpoints/assistants/title.js and, before
    # that, api/app/clients/OpenAIClient.js.
    Opening("LibreChat", "title", "alone", "Provide a concise, 5-word-or-less title for the conversation"),
    Opening(
        "LibreChat",
        "title",
        "alone",
        "Analyze this conversation and provide:\n1. The detected language of the conversation",
    ),
    Opening(
        "LibreChat", "title", "alone", "Please generate a concise title (max 40 characters) for a conversation that"
    ),
    Opening(
        "LibreChat", "title", "alone", "Detect user language and write in the same language an extremely concise title"
    ),
    # SillyTavern public/scripts/openai.js; extensions memory, expressions, vectors, stable-diffusion.
    Opening("SillyTavern", "impersonate", "last", "[Write your next reply from the point of view of "),
    Opening("SillyTavern", "summary", "last", "Ignore previous instructions. Summarize the most important "),
    Opening("SillyTavern", "summary", "last", "[Pause your roleplay. Summarize the most important "),
    Opening("SillyTavern", "summary", "alone", "Ignore previous instructions. Summarize the most important "),
    Opening(
        "SillyTavern", "expression", "last", "Ignore previous instructions. Classify the emotion of the last message."
    ),
    Opening(
        "SillyTavern", "expression", "alone", "Ignore previous instructions. Classify the emotion of the last message."
    ),
    Opening("SillyTavern", "image", "last", "[Pause your roleplay and provide a "),
    Opening(
        "SillyTavern",
        "image",
        "last",
        "[In the next response I want you to provide only a detailed comma-delimited list",
    ),
    # ChatGPTNextWeb/NextChat app/locales/cn.ts and en.ts.
    Opening("NextChat", "title", "last", "使用四到五个字直接返回这句话的简要主题"),
    Opening(
        "NextChat",
        "title",
        "last",
        "Please generate a four to five word title summarizing our conversation without any",
    ),
    Opening("NextChat", "summary", "last", "简要总结一下对话内容，用作后续的上下文提示 prompt"),
    Opening(
        "NextChat", "summary", "last", "Summarize the discussion briefly in 200 words or less to use as a prompt for"
    ),
    # lobehub/lobe-chat src/chains/summaryTitle.ts, CherryHQ/cherry-studio src/renderer/src/services/ApiService.ts.
    Opening(
        "LobeChat, Cherry Studio",
        "title",
        "alone",
        "你是一名擅长会话的助理，你需要将用户的会话总结为 10 个字以内的标题",
    ),
    Opening("Cherry Studio", "title", "alone", "总结给出的会话，将其总结为语言为"),
)


def task_of(messages: Sequence[Message]) -> Opening | None:
    """The task that a request is, or None when it is talk."""
    talk = [message for message in messages if message.role != "system"]
    candidates = {"alone": messages if len(talk) <= 1 else (), "last": messages[-1:]}
    for opening in OPENINGS:
        for message in candidates[opening.place]:
            text = message.content.lstrip()
            if message.role != "assistant" and text.startswith(opening.begins) and opening.also in text:
                return opening
    return None
