locals {
  of_chain = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = starts_with(\"${var.name}-\")"
  of_a     = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${var.name}-a\""
  alerts = {
    errors = {
      title     = "more than three 5xx a minute"
      filter    = "${local.of_chain} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
      aligner   = "ALIGN_RATE"
      reducer   = "REDUCE_SUM"
      threshold = 0.05
    }
    latency = {
      title     = "stage A's answers take long"
      filter    = "${local.of_a} AND metric.type = \"run.googleapis.com/request_latencies\""
      aligner   = "ALIGN_PERCENTILE_95"
      reducer   = "REDUCE_MAX"
      threshold = var.latency_seconds * 1000
    }
    cold_start = {
      title     = "stages start slowly"
      filter    = "${local.of_chain} AND metric.type = \"run.googleapis.com/container/startup_latencies\""
      aligner   = "ALIGN_PERCENTILE_95"
      reducer   = "REDUCE_MAX"
      threshold = var.cold_start_seconds * 1000
    }
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each     = toset(var.alert_emails)
  display_name = "${var.name}: ${each.value}"
  type         = "email"
  labels       = { email_address = each.value }
  depends_on   = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "this" {
  for_each              = local.alerts
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]
  conditions {
    display_name = each.value.title
    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.threshold
      duration        = "300s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.reducer
        group_by_fields      = ["resource.labels.service_name"]
      }
    }
  }
  user_labels = local.labels
  depends_on  = [google_project_service.this]
}

resource "google_monitoring_dashboard" "this" {
  dashboard_json = replace(file("${path.module}/dashboard.json"), "NAME", var.name)
  depends_on     = [google_project_service.this]
}

# What the deployment's labels cost this month; who hears of it is who hears of alerts.
resource "google_project_service" "budgets" {
  count              = var.monthly_budget > 0 ? 1 : 0
  service            = "billingbudgets.googleapis.com"
  disable_on_destroy = false
}

resource "google_billing_budget" "this" {
  count           = var.monthly_budget > 0 ? 1 : 0
  billing_account = var.billing_account
  display_name    = "${var.name}: cost"
  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
    labels   = { commissure-deployment = var.name }
  }
  amount {
    specified_amount {
      units = tostring(var.monthly_budget)
    }
  }
  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
    }
  }
  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }
  all_updates_rule {
    monitoring_notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]
    disable_default_iam_recipients   = false
  }
  lifecycle {
    precondition {
      condition     = var.billing_account != ""
      error_message = "monthly_budget needs billing_account: gcloud billing projects describe PROJECT says which it is."
    }
  }
  depends_on = [google_project_service.budgets]
}
