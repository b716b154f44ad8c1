"""Random days of one tenant."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from tests.builders import a_staged_row
from tests.integration.directory.register.connection_steps import ConnectionSteps
from tests.integration.directory.register.file_steps import FileSteps
from tests.integration.directory.register.hand_steps import HandSteps
from tests.reference.by_connection import Facts


class Days(HandSteps, ConnectionSteps, FileSteps):
    """People, the provider and the file, in any order; some of each are there from the first day on."""

    @initialize(creates_groups=st.booleans(), grace_nights=st.sampled_from([0, 0, 1]))
    def first_day(self, creates_groups, grace_nights):
        self.begin(creates_groups=creates_groups, grace_nights=grace_nights)
        self.create_group(account=2, group_id="")
        self.create_group(account=0, group_id="g1")
        self.create_user(account=1, email="m0@example.org", name="Anna", groups=[0])
        for number in (1, 2):
            self.provision(Facts(f"n{number + 1}", f"m{number}@example.org", "Bo", external_id=f"x{number}"))
        self.provision_group(group_id="g2", members=[1, 2])
        rows = [a_staged_row(f"EMPLOYEE-{n}", email=f"m{n + 3}@example.org", groups=("g1",)) for n in (0, 1)]
        self.night(news=[(row.external_id, row) for row in rows], decision="apply", spares_settled=False)
