"""The SQL engine says what the import's rules say, on SQLite and on PostgreSQL."""

from tests.reference.rules.groups import *  # noqa: F403 - each rule is a test here
from tests.reference.rules.identity import *  # noqa: F403
from tests.reference.rules.leaving import *  # noqa: F403
from tests.reference.rules.limits import *  # noqa: F403
from tests.reference.rules.people import *  # noqa: F403
from tests.reference.rules.several_files import *  # noqa: F403
