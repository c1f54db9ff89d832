# Waking by the clock. /health is open to those without the API key; asking it starts stage A, which wakes the others. A
# call that gets no good answer is repeated.

locals {
  wakes_as_account = var.warm_schedule != "" && !local.is_open
}

resource "google_service_account" "warm" {
  count        = local.wakes_as_account ? 1 : 0
  account_id   = "${var.name}-warm"
  display_name = "Commissure ${var.name}: wakes the stages by a schedule"
}

resource "google_cloud_run_v2_service_iam_member" "warm" {
  count    = local.wakes_as_account ? 1 : 0
  name     = google_cloud_run_v2_service.stage["a"].name
  location = var.region
  role     = "roles/run.invoker"
  member   = "serviceAccount:${google_service_account.warm[0].email}"
}

resource "google_cloud_scheduler_job" "warm" {
  count            = var.warm_schedule == "" ? 0 : 1
  name             = local.warm_job.name
  region           = var.region
  description      = local.warm_job.description
  schedule         = local.warm_job.schedule
  time_zone        = local.warm_job.time_zone
  attempt_deadline = local.warm_job.deadline
  retry_config {
    retry_count          = local.warm_job.retries
    min_backoff_duration = local.warm_job.pause.least
    max_backoff_duration = local.warm_job.pause.most
  }
  http_target {
    uri         = local.warm_job.uri
    http_method = local.warm_job.method
    dynamic "oidc_token" {
      for_each = local.wakes_as_account ? [1] : []
      content {
        service_account_email = google_service_account.warm[0].email
        audience              = local.warm_job.audience
      }
    }
  }
  depends_on = [google_project_service.this]
}
