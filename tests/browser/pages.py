"""The pages that are walked in every theme, language and width. A new page is one line here.

`{web}` stands for a container that runs, `{done}` for one that has ended, `{image}` for the id of their image,
`{job}` for that of a job that is done.
"""

PAGES = (
    "/",
    "/containers/",
    "/containers/?q=nothing-is-called-so",
    "/containers/-/create/",
    "/containers/{web}/",
    "/containers/{done}/",
    "/containers/{web}/remove/",
    "/containers/{web}/terminals/",
    "/images/",
    "/images/import/",
    "/images/{image}/remove/",
    "/volumes/",
    "/volumes/harbour/remove/",
    "/search/?q=restart {web}",
    "/account/",
    "/users/",
    "/users/create/",
    "/jobs/",
    "/jobs/{job}/",
    "/system/",
    "/no/such/page/",
)
