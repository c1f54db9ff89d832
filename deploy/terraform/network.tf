# Both are optional: a VPC of the chain's own, and a load balancer with a domain before stage A.

resource "google_project_service" "compute" {
  count              = var.create_network || var.domain != "" ? 1 : 0
  service            = "compute.googleapis.com"
  disable_on_destroy = false
}

resource "google_compute_network" "this" {
  count                   = var.create_network ? 1 : 0
  name                    = var.name
  auto_create_subnetworks = false
  depends_on              = [google_project_service.compute]
}

# Private Google Access leads to Cloud Run and Cloud Storage without a way to the internet.
resource "google_compute_subnetwork" "this" {
  count                    = var.create_network ? 1 : 0
  name                     = var.name
  region                   = var.region
  network                  = google_compute_network.this[0].id
  ip_cidr_range            = var.subnet_range
  private_ip_google_access = true
}

resource "google_compute_region_network_endpoint_group" "this" {
  count                 = var.domain == "" ? 0 : 1
  name                  = "${var.name}-a"
  region                = var.region
  network_endpoint_type = "SERVERLESS"
  cloud_run {
    service = google_cloud_run_v2_service.stage["a"].name
  }
  depends_on = [google_project_service.compute]
}

# No timeout: a serverless backend has 60 minutes, and Cloud Run's own is what counts.
resource "google_compute_backend_service" "this" {
  count                 = var.domain == "" ? 0 : 1
  name                  = "${var.name}-a"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  backend {
    group = google_compute_region_network_endpoint_group.this[0].id
  }
}

resource "google_compute_url_map" "this" {
  count           = var.domain == "" ? 0 : 1
  name            = var.name
  default_service = google_compute_backend_service.this[0].id
}

resource "google_compute_managed_ssl_certificate" "this" {
  count = var.domain == "" ? 0 : 1
  name  = var.name
  managed {
    domains = [var.domain]
  }
}

resource "google_compute_target_https_proxy" "this" {
  count            = var.domain == "" ? 0 : 1
  name             = var.name
  url_map          = google_compute_url_map.this[0].id
  ssl_certificates = [google_compute_managed_ssl_certificate.this[0].id]
}

resource "google_compute_global_address" "this" {
  count = var.domain == "" ? 0 : 1
  name  = var.name
}

resource "google_compute_global_forwarding_rule" "this" {
  count                 = var.domain == "" ? 0 : 1
  name                  = var.name
  load_balancing_scheme = "EXTERNAL_MANAGED"
  target                = google_compute_target_https_proxy.this[0].id
  ip_address            = google_compute_global_address.this[0].id
  port_range            = "443"
}
