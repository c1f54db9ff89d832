# One account per stage: A may call B, B may call C, and each reads the weights and nothing else of the bucket.

resource "google_service_account" "stage" {
  for_each     = local.stages
  account_id   = "${var.name}-${each.key}"
  display_name = "Commissure ${var.name}: stage ${each.key}"
}

resource "google_service_account" "build" {
  account_id   = "${var.name}-build"
  display_name = "Commissure ${var.name}: builds the image, fetches the weights"
}

# Baked ones lie in the image: then no stage reads the bucket.
resource "google_storage_bucket_iam_member" "weights" {
  for_each = var.weights == "baked" ? {} : local.stages
  bucket   = google_storage_bucket.this.name
  role     = "roles/storage.objectViewer"
  member   = "serviceAccount:${google_service_account.stage[each.key].email}"
  condition {
    title      = "weights-only"
    expression = local.weights_condition
  }
}

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.this.name
  role   = "roles/storage.admin"
  member = "serviceAccount:${google_service_account.build.email}"
}

resource "google_artifact_registry_repository_iam_member" "build" {
  location   = var.region
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.writer"
  member     = "serviceAccount:${google_service_account.build.email}"
}

resource "google_project_iam_member" "build_logs" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = "serviceAccount:${google_service_account.build.email}"
}

# The sidecar writes as stage A.
resource "google_project_iam_member" "metrics" {
  count   = var.prometheus_sidecar ? 1 : 0
  project = var.project
  role    = "roles/monitoring.metricWriter"
  member  = "serviceAccount:${google_service_account.stage["a"].email}"
}

resource "google_cloud_run_v2_service_iam_member" "caller" {
  for_each = local.callers
  name     = google_cloud_run_v2_service.stage[each.key].name
  location = var.region
  role     = "roles/run.invoker"
  member   = "serviceAccount:${google_service_account.stage[each.value].email}"
}

resource "google_cloud_run_v2_service_iam_member" "client" {
  for_each = toset(local.is_open ? ["allUsers"] : var.invokers)
  name     = google_cloud_run_v2_service.stage["a"].name
  location = var.region
  role     = "roles/run.invoker"
  member   = each.value
}

# The key itself never passes Terraform, whose state would keep it: `make deploy` gives it to gcloud (add_key.sh).
resource "google_secret_manager_secret" "api_key" {
  count     = local.has_key ? 1 : 0
  secret_id = "${var.name}-api-key"
  labels    = local.labels
  replication {
    auto {}
  }
  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_iam_member" "api_key" {
  count     = local.has_key ? 1 : 0
  secret_id = google_secret_manager_secret.api_key[0].id
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${google_service_account.stage["a"].email}"
}
