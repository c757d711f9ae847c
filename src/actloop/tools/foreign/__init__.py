"""Tools of other frameworks and services, as tools of ours."""
