"""Every point of an executor's life at which it can die, or at which a call can go wrong.

`calls` names the calls and gives each proxy its orders, `lives` are what happens to a Run or an AwsIntegration,
`rehearsal` plays many of them at once, each in a namespace of its own, with one point each, and `judge` looks at what
the API server wrote down. No list of calls is kept anywhere: each life is played once undisturbed, and what was called
then is what is tried.
"""
