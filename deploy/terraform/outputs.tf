output "url" {
  description = "The endpoint; OpenAI clients take it with /v1 behind it."
  value       = var.domain == "" ? google_cloud_run_v2_service.stage["a"].uri : "https://${var.domain}"
}

output "address" {
  description = "Where the domain's A record must point; empty without a load balancer."
  value       = one(google_compute_global_address.this[*].address)
}

output "weights" {
  description = "Where the model's files belong."
  value       = local.weights_folder
}

output "image" {
  description = "The image that every stage runs; `make build-cloud` pushes it."
  value       = local.image
}

output "build_account" {
  description = "The account that builds run as."
  value       = google_service_account.build.id
}
