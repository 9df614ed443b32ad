"""Sessions: the flows of a host or a capture, in the order of their starts."""

from netdiffus.sessions.figures import compare_sessions as compare_sessions
from netdiffus.sessions.model import SessionModel as SessionModel
from netdiffus.sessions.model import train_sessions as train_sessions
from netdiffus.sessions.sampling import sample_sessions as sample_sessions
