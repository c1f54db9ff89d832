# What commissure.yaml has no key for; its keys are in chain.tf, those of a stage in services.tf.

variable "invokers" {
  description = "Members that may call stage A under access iam or both, e.g. user:me@example.com."
  type        = list(string)
  default     = []
}

variable "create_network" {
  description = "Make a VPC and a subnet with Private Google Access instead of using `network`."
  type        = bool
  default     = false
}

variable "subnet_range" {
  description = "Addresses of the subnet that create_network makes; /26 or larger."
  type        = string
  default     = "10.8.0.0/26"
}

variable "domain" {
  description = "A domain for an external load balancer in front of stage A; empty: no load balancer."
  type        = string
  default     = ""
}

variable "alert_emails" {
  description = "Who hears of alerts; empty: alerts are there and tell nobody."
  type        = list(string)
  default     = []
}

variable "latency_seconds" {
  description = "95th percentile of stage A's answers above which an alert opens; answers are streams, so this is their whole length."
  type        = number
  default     = 120
}

variable "cold_start_seconds" {
  description = "95th percentile of container start-up above which an alert opens."
  type        = number
  default     = 60
}

variable "monthly_budget" {
  description = "Cost of a month, in the billing account's currency, of which half, nine tenths and all (spent or foreseen) are told to its administrators and `alert_emails`; 0: none. Nothing is stopped."
  type        = number
  default     = 0
  validation {
    condition     = var.monthly_budget >= 0 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "monthly_budget must be a whole number, zero or more."
  }
}

variable "billing_account" {
  description = "Id of the project's billing account, for `monthly_budget`; who applies needs roles/billing.costsManager on it."
  type        = string
  default     = ""
}

variable "prometheus_sidecar" {
  description = "Put Google's Prometheus sidecar beside stage A, which scrapes /metrics (of all stages) into Managed Prometheus; 1 vCPU and 512Mi more, billed with it. Not with access key or both: /metrics asks for the key then."
  type        = bool
  default     = false
}

variable "prometheus_image" {
  description = "The sidecar's image."
  type        = string
  default     = "us-docker.pkg.dev/cloud-ops-agents-artifacts/cloud-run-gmp-sidecar/cloud-run-gmp-sidecar:1.1.1"
}

variable "keep_images" {
  description = "Newest images that the repository's clean-up keeps."
  type        = number
  default     = 5
}

variable "deletion_protection" {
  description = "Whether terraform refuses to delete the services."
  type        = bool
  default     = false
}
