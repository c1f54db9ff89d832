#pragma once

#include <string>

#include "core/json.h"
#include "core/result.h"
#include "model/decoder_spec.h"
#include "synth/synth_request.h"

namespace commissure {

/// config.json of the request's whole shape, scaled down where that is asked for.
Json whole_config(const SynthRequest& request);

/// Whether the request's layers can be a model of their own.
/// Errors: kInvalidArgument, naming the layers that can: one reads keys and values of a layer before them, or the
/// format cannot say what the last one is.
Status check_part(const SynthRequest& request, const DecoderSpec& whole);

/// config.json of the request's layers. Which of them see a window, or rotate nothing, is listed: they are counted from
/// 0 again.
///   whole  the spec of `config`, which is of the whole shape
Json part_config(const SynthRequest& request, Json config, const DecoderSpec& whole);

/// By which rule a name becomes bytes. Raise it whenever the same name becomes other ones (a hash in
/// synth_model_test.cc changes), so that models of two versions of this program have two fingerprints.
constexpr int kSynthRule = 1;

/// The request as files carry it, so that models of other seeds have other fingerprints: its name, less the tokenizer,
/// and the rule.
std::string synth_mark(const SynthRequest& request);

/// The layers of the request, of all `n_layers`.
LayerSpan layers_of(const SynthRequest& request, int n_layers);

}  // namespace commissure
