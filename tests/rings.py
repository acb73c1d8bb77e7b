"""A keyring that lives in memory."""

from keyring.backend import KeyringBackend


class Ring(KeyringBackend):
    """Keeps secrets as long as the test runs."""

    priority = 1

    def __init__(self):
        super().__init__()
        self.kept = {}

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def delete_password(self, service, username):
        del self.kept[service, username]
