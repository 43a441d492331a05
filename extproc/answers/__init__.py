"""Reads the answers of inference APIs: the first token, token counts, failures and the end.

``wire`` undoes content codings and splits an answer into events, however its bytes are split. ``event_inspector`` and
``message_inspector`` read one event by its API's shape (``extproc.apis.answer_shape``) into an ``AnswerState``.
``answer_reader`` reads one answer, ``realtime_session`` the many answers of a session.
"""

from extproc.answers.answer_reader import AnswerReader as AnswerReader
from extproc.answers.answer_reader import answer_reader as answer_reader
from extproc.answers.realtime_session import RealtimeSession as RealtimeSession
from extproc.answers.realtime_session import SessionAnswer as SessionAnswer
from extproc.answers.realtime_session import realtime_session as realtime_session
