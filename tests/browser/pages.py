"""The pages that are walked in every theme, language and width. A new page is one line here:
`tests/console/test_walked.py` misses it otherwise.

`{web}` stands for a container that runs, `{done}` for one that has ended, `{sick}` for one that is unhealthy, `{image}`
for the id of their image, `{job}` for that of a job that is done, `{session}` for an open terminal, `{user}`,
`{passkey}` and `{backup}` for one of each, `{token}` for an invitation.
"""

NOWHERE = "/no/such/page/"

# Of who has not signed in.
OUTSIDE = ("/sign-in/", "/setup/spent/", "/setup/{token}/")

PAGES = (
    "/account/",
    "/account/password/",
    "/account/tokens/create/",
    "/account/app/add/",
    "/account/passkeys/add/",
    "/account/codes/generate/",
    "/",
    "/containers/",
    "/containers/?q=nothing-is-called-so",
    "/containers/-/create/",
    "/containers/-/create/?like={web}",
    "/containers/{web}/",
    "/containers/{done}/",
    "/containers/{web}/logs/",
    "/containers/{web}/logs/?q=line",
    "/containers/{done}/logs/?q=nothing-says-so",
    "/containers/{web}/terminals/",
    "/containers/{web}/terminals/{session}/",
    "/containers/{web}/terminals/{session}/end/",
    "/containers/{web}/files/",
    "/containers/{web}/files/?path=/etc/passwd",
    "/containers/{web}/files/?path=/no/such/file",
    "/containers/{web}/files/edit/?path=/etc/passwd",
    "/containers/{web}/files/rename/?path=/etc/passwd",
    "/containers/{web}/files/remove/?path=/etc/passwd",
    "/containers/{web}/files/remove/?path=/etc",
    "/containers/{web}/changes/",
    "/containers/{web}/commit/",
    "/containers/{web}/processes/",
    "/containers/{done}/processes/",
    "/containers/{web}/metrics/",
    "/containers/{web}/health/",
    "/containers/{done}/health/",
    "/containers/{sick}/",
    "/containers/{sick}/health/",
    "/containers/{web}/config/",
    "/containers/{web}/config/1/restore/",
    "/containers/{web}/events/",
    "/containers/{web}/clone/",
    "/containers/{web}/recreate/",
    "/containers/{web}/remove/",
    "/images/",
    "/images/import/",
    "/images/{image}/remove/",
    "/volumes/",
    "/volumes/harbour/remove/",
    "/events/",
    "/events/?name=nothing-is-called-so",
    "/search/?q=restart {web}",
    "/jobs/",
    "/jobs/{job}/",
    "/system/",
    "/system/backups/{backup}/remove/",
    "/users/",
    "/users/create/",
    "/users/{user}/remove/",
    NOWHERE,
)

# Of who has set up a second step.
SECURED = (
    "/account/",
    "/account/app/remove/",
    "/account/codes/",
    "/account/codes/generate/",
    "/account/passkeys/{passkey}/remove/",
    "/account/confirm/",
    "/account/confirm/code/",
    "/account/confirm/passkey/",
)

# Between the password and the second step.
HALFWAY = ("/sign-in/second-step/",)
