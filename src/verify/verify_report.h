#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "verify/reference_model.h"
#include "verify/verified_chain.h"

namespace commissure {

/// One way of computing all cases, compared with the reference.
struct VerifyColumn {
  const char* name;
  std::string skipped = {};                                  ///< why it was not run; empty: it was run
  std::vector<std::optional<std::string>> differences = {};  ///< by case; nothing where the answers are alike
  float largest_gap = 0;                                     ///< between log-probabilities, over all cases

  /// Index of the first case that differs, or -1.
  int first_difference() const;
};

/// Compares `found` with `expected`, case by case.
VerifyColumn compare_all(const char* name, const std::vector<VerifyCase>& cases,
                         const std::vector<VerifyAnswer>& expected, const std::vector<VerifyAnswer>& found,
                         const VerifyTolerance& tolerance);

/// The comparison as a table for people.
std::string verify_table(const std::vector<VerifyCase>& cases, const std::vector<VerifyAnswer>& expected,
                         const std::vector<VerifyColumn>& columns);
/// The comparison for programs.
Json verify_json(const std::vector<VerifyCase>& cases, const std::vector<VerifyAnswer>& expected,
                 const std::vector<VerifyColumn>& columns);

/// Where the chain left the reference: the first layer whose rows differ, with its stage, from the checksums in the
/// steps of `found`. Computes the tokens of `found` on the reference. Errors: as ReferenceModel::sum_layers.
Result<std::string> locate_difference(ReferenceModel& reference, const std::vector<VerifiedStage>& stages,
                                      const VerifyCase& asked, const VerifyAnswer& found);

/// Whether a recovery computed this answer's sequence again.
bool was_replayed(const VerifyAnswer& answer);

}  // namespace commissure
