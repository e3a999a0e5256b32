"""Fill an empty Label Studio: one organisation, annotators, one project with tasks; run by the interpreter of its environment.

Arguments: how many annotators, how many tasks. Out: the project's number, then one API token a line. It uses Label Studio's own models,
since its import over HTTP would only take longer.
"""

from __future__ import annotations

import sys
from importlib import import_module

_CONFIG = """<View><Text name="text" value="$text"/>
<Choices name="class" toName="text" choice="single">
<Choice value="cat"/><Choice value="dog"/><Choice value="bird"/><Choice value="fish"/></Choices></View>"""
_TEXT = "Which animal does this sentence of two hundred characters or so speak of? " * 3
_BATCH = 1000


def main(people: int, tasks: int) -> None:
    """Overlap one, tasks one after the other, old-style tokens allowed (they are off by default)."""
    # By name: all of these are there only in that environment, most of them inside its package.
    sys.path.insert(0, str(import_module("label_studio").__path__[0]))
    import_module("django").setup()
    user_model, organizations = import_module("users.models").User, import_module("organizations.models")
    token_model = import_module("rest_framework.authtoken.models").Token
    users = [
        user_model.objects.create_user(email=f"p{number}@example.com", password=f"password-{number}")
        for number in range(people)
    ]
    organization = organizations.Organization.create_organization(
        created_by=users[0], title="bench", legacy_api_tokens_enabled=True
    )
    for user in users:
        if user is not users[0]:
            organization.add_user(user)
        user.active_organization = organization
        user.save()
    project = import_module("projects.models").Project.objects.create(
        title="bench", label_config=_CONFIG, created_by=users[0], organization=organization, maximum_annotations=1
    )
    task_model = import_module("tasks.models").Task
    for start in range(0, tasks, _BATCH):
        task_model.objects.bulk_create(
            task_model(project=project, data={"text": f"{number}: {_TEXT}"}, inner_id=number + 1, overlap=1)
            for number in range(start, min(start + _BATCH, tasks))
        )
    sys.stdout.write(f"{project.id}\n")
    for user in users:
        token, _ = token_model.objects.get_or_create(user=user)
        sys.stdout.write(f"{token.key}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
