"""API routes that answer with pipelines, their states, components and plugins."""

from eltsite.api.routes import route
from pipelines import component_viewsets, plugin_viewsets, state_viewsets, viewsets

urlpatterns = [
    *route(
        "workspaces/<id:workspace_id>/pipelines",
        viewsets.WorkspacePipelinesView.as_view(),
        name="api-workspace-pipelines",
    ),
    *route("pipelines/<id:pipeline_id>", viewsets.PipelineView.as_view(), name="api-pipeline"),
    *route("pipelines/<id:pipeline_id>/state", state_viewsets.PipelineStateView.as_view(), name="api-pipeline-state"),
    *route(
        "pipelines/<id:pipeline_id>/state/export",
        state_viewsets.PipelineStateExportView.as_view(),
        name="api-pipeline-state-export",
    ),
    *route(
        "pipelines/<id:pipeline_id>/state/changes",
        state_viewsets.PipelineStateChangesView.as_view(),
        name="api-pipeline-state-changes",
    ),
    *route(
        "pipelines/<id:pipeline_id>/state/changes/<int:change_id>",
        state_viewsets.PipelineStateChangeView.as_view(),
        name="api-pipeline-state-change",
    ),
    *route(
        "pipelines/<id:pipeline_id>/state/changes/<int:change_id>/undone",
        state_viewsets.PipelineStateChangeUndoneView.as_view(),
        name="api-pipeline-state-change-undone",
    ),
    *route("dataplugins", plugin_viewsets.PluginsView.as_view(), name="api-dataplugins"),
    *route("dataplugins/<id:plugin_id>", plugin_viewsets.PluginView.as_view(), name="api-dataplugin"),
    *route("discovery.yml", plugin_viewsets.DiscoveryView.as_view(), name="api-discovery"),
    *route(
        "workspaces/<id:workspace_id>/dataplugins",
        plugin_viewsets.WorkspacePluginsView.as_view(),
        name="api-workspace-dataplugins",
    ),
    *route(
        "workspaces/<id:workspace_id>/dataplugins/<id:plugin_id>",
        plugin_viewsets.WorkspacePluginView.as_view(),
        name="api-workspace-dataplugin",
    ),
    *route(
        "workspaces/<id:workspace_id>/discovery.yml",
        plugin_viewsets.WorkspaceDiscoveryView.as_view(),
        name="api-workspace-discovery",
    ),
    *route(
        "workspaces/<id:workspace_id>/discovery",
        plugin_viewsets.WorkspacePublicationView.as_view(),
        name="api-workspace-publication",
    ),
    *route(
        "workspaces/<id:workspace_id>/datacomponents",
        component_viewsets.WorkspaceComponentsView.as_view(),
        name="api-workspace-datacomponents",
    ),
    *route(
        "workspaces/<id:workspace_id>/datacomponents/<id:component_id>",
        component_viewsets.WorkspaceComponentView.as_view(),
        name="api-workspace-datacomponent",
    ),
    *route("datacomponents/<id:component_id>", component_viewsets.ComponentView.as_view(), name="api-datacomponent"),
]
