JOB = "job-0"


def counted(done):
    """What the worker does in each round: from the first one on."""
    return done + 1


def answer(question):
    """What it does when it is asked something."""
    return "answer-0 to " + question
