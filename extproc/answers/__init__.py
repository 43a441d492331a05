"""What the answers of inference APIs tell: the first token, the end, errors, tokens.

``shapes`` and ``usages`` are the tables; ``plain`` tells by the first bytes what an answer is; ``sse``, ``lines``,
``elements``, ``frames``, ``eventstream`` and ``websocket`` take the bytes apart, however they are split; ``look`` looks
at one event; ``reading`` puts them together, and ``realtime`` those of a session that holds many answers.
"""

from extproc.answers.answer_reader import AnswerReader as AnswerReader
from extproc.answers.answer_reader import answer_reader as answer_reader
from extproc.answers.realtime_session import RealtimeSession as RealtimeSession
from extproc.answers.realtime_session import SessionAnswer as SessionAnswer
from extproc.answers.realtime_session import realtime_session as realtime_session
from extproc.answers.shapes import HEADERS as HEADERS
