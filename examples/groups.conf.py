"""A class in a configuration file is a group of settings."""

service = "groups.Greeters"


class english:
    message = "Good morning"


class french:
    message = "Bonjour"
    seconds = 0.5
