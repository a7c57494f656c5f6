"""The addresses of the pages."""

from django.contrib.auth.views import LogoutView
from django.urls import path
from django.views.generic import RedirectView

from jobs import home_views, list_views, log_views, pipeline_views, state_views
from jobs import views as job_views
from pipelines import state_views as state_change_views
from pipelines import views as definition_views
from workspaces import views as people_views

PIPELINE = "w/<slug:alias>/pipelines/<int:number>/"
JOB = "w/<slug:alias>/jobs/<int:number>/"

urlpatterns = [
    path("", home_views.go_home, name="home"),
    path("login/", people_views.SignIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("welcome/<uidb64>/<token>/", people_views.Welcome.as_view(), name="welcome"),
    path("profile/", people_views.profile, name="profile"),
    path("profile/theme/", people_views.set_theme, name="theme"),
    path("favicon.ico", RedirectView.as_view(url="/static/favicon.svg")),
    path("w/<slug:alias>/", home_views.show_home, name="workspace-home"),
    path("w/<slug:alias>/find/", job_views.find, name="find"),
    path("w/<slug:alias>/pipelines/", pipeline_views.list_pipelines, name="pipeline-pages"),
    path(PIPELINE, pipeline_views.show_pipeline, name="pipeline-page"),
    path(f"{PIPELINE}configuration/", pipeline_views.show_configuration, name="pipeline-configuration"),
    path(f"{PIPELINE}state/", state_views.show_state, name="pipeline-state"),
    path(f"{PIPELINE}state/edit/", state_change_views.edit, name="pipeline-state-edit"),
    path(f"{PIPELINE}state/import/", state_change_views.import_, name="pipeline-state-import"),
    path(f"{PIPELINE}state/changes/<int:change_id>/undo/", state_change_views.undo, name="pipeline-state-undo"),
    path(f"{PIPELINE}run/", job_views.run_pipeline, name="pipeline-run"),
    path(f"{PIPELINE}test/", job_views.test_pipeline, name="pipeline-test"),
    path("w/<slug:alias>/components/<uuid:component_id>/test/", job_views.test_component, name="component-test"),
    path(f"{PIPELINE}pause/", definition_views.pause, name="pipeline-pause"),
    path(f"{PIPELINE}resume/", definition_views.resume, name="pipeline-resume"),
    path(f"{PIPELINE}reset/", state_change_views.reset, name="pipeline-reset"),
    path(f"{PIPELINE}delete/", definition_views.delete, name="pipeline-delete"),
    path("w/<slug:alias>/jobs/", list_views.list_jobs, name="job-pages"),
    path("w/<slug:alias>/jobs/live/", list_views.list_jobs_live, name="job-list-live"),
    path(JOB, job_views.show_job, name="job-page"),
    path(f"{JOB}live/", job_views.show_job_live, name="job-live"),
    path(f"{JOB}stop/", job_views.stop_job, name="job-stop"),
    path(f"{JOB}retry/", job_views.retry_job, name="job-retry"),
    path(f"{JOB}delete/", job_views.delete_job, name="job-delete"),
    path(f"{JOB}log/", log_views.show_log, name="job-log"),
    path(f"{JOB}log/lines/", log_views.log_lines, name="job-log-lines"),
    path(f"{JOB}log/plain/", log_views.log_as_text, name="job-log-plain"),
    path(f"{JOB}log/download/", log_views.log_as_text, {"download": True}, name="job-log-download"),
]
