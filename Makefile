# make run                     build, fetch the default model, start three stages, chat
# make run ASK="a question"    the same with one answer instead of a chat
# make test                    every test (ALL=1: also what is slow and much like what else is tested)
# make test-asan               the same under ASan + UBSan (ALL=1: comparisons of numbers and of whole chains and emulated GPU kernels, too)
# make test-tsan             threads under ThreadSanitizer; wire too once tools/build_tsan_grpc.sh has run
# make fuzz                    every parser of outside input under libFuzzer, a minute each (SECONDS=60, or RUNS=1000000; TARGET=gguf: one alone)
# make soak                    100 stages killed or frozen under 16 streams, 10,000 small requests
# make sweep                  `up` on Google Cloud Run: every call fails once in every way, every change is interrupted in every way (half an hour)
# make try-image               the image built and run with buildah, without and with a baked model (minutes; root, Debian 12)
# make package                 build/packages/commissure_VERSION_ARCHITECTURE.deb with manual page and completions, and its checksum
# make bench                   speed beside llama.cpp (see bench/README.md)
# make down                    stop what `make run` started
# make tf-init cloud-base build-cloud deploy smoke-test     Google Cloud Run by Terraform (see docs/deploy.md)
# make keys                    docs/commissure.schema.json and docs/commissure-yaml.md anew, after a change of src/deployment/file_keys.cc
# make clean

MODEL  ?= smollm2-135m
STAGES ?= 3
PORT   ?= 8080
ASK    ?=

TF = terraform -chdir=deploy/terraform
TF_VALUE = $$(echo $(1) | $(TF) console | tr -d '"')

.PHONY: tf-init cloud-base build-cloud deploy smoke-test
.PHONY: sweep try-image keys fuzz package
.PHONY: run build test test-release test-asan test-tsan soak bench down clean packages models
.DEFAULT_GOAL := build

packages:
	@tools/install_packages.sh build

build/release/build.ninja: CMakeLists.txt CMakePresets.json
	@cmake --preset release >build.log 2>&1 || { cat build.log; exit 1; }
	@rm -f build.log

build: packages build/release/build.ninja
	@cmake --build --preset release --target commissure_program

run: build
	@tools/run.sh "$(MODEL)" "$(STAGES)" "$(PORT)" "$(ASK)"

# The models the golden and whole-program tests run on; kept in the user's cache.
models: build
	@./commissure pull smollm2-135m
	@./commissure pull gemma3-270m --accept-license

test:
	@tools/install_packages.sh build test
	@$(MAKE) --no-print-directory models test-release

test-release: build/release/build.ninja
	@cmake --build --preset release
	@tools/link_test_models.sh
	@COMMISSURE_TEST_MODELS="$(CURDIR)/build/test-models" COMMISSURE_TEST_ALL="$(ALL)" ctest --preset release

# What starts chain after chain to compare numbers, what waits for other programs most of the time, and GPU kernels by emulation
# are left to the release suite; ALL=1 runs them as well.
test-asan:
	@tools/install_packages.sh build test asan
	@$(MAKE) --no-print-directory models
	@cmake --preset asan -DCOMMISSURE_SANITIZE_ALL=$(if $(ALL),ON,OFF) >/dev/null
	@cmake --build --preset asan
	@tools/link_test_models.sh
	@COMMISSURE_TEST_MODELS="$(CURDIR)/build/test-models" ctest --preset $(if $(ALL),asan-all,asan)

# Debian's gRPC is built without ThreadSanitizer, which then sees none of the hand-overs inside it.
test-tsan:
	@tools/install_packages.sh build test
	@cmake --preset tsan >/dev/null
	@cmake --build --preset tsan --target core_test net_test http_test sched_test step_test stage_test engine_test api_test
	@ctest --preset tsan
	@if grpc=$$(tools/build_tsan_grpc.sh --where); then \
	  cmake --build --preset tsan --target wire_test && LD_LIBRARY_PATH=$$grpc ctest --preset tsan-wire; \
	else echo "wire was left out: tools/build_tsan_grpc.sh builds a gRPC for it, once"; fi

fuzz:
	@tools/install_packages.sh build test asan
	@cmake --preset fuzz >/dev/null
	@cmake --build --preset fuzz $(if $(TARGET),--target $(TARGET)_fuzz make_corpus)
	@tools/fuzz.py --seconds "$(or $(SECONDS),60)" --runs "$(or $(RUNS),0)" --target "$(TARGET)"

soak: build
	@tools/link_test_models.sh
	@tests/e2e/kill_test.py --smol 60 --gemma 40
	@tests/e2e/small_requests_soak.py

sweep: build
	@tools/link_test_models.sh
	@tests/e2e/cloud_sweep_test.py all

keys: build/release/build.ninja
	@cmake --build --preset release --target deployment_test
	@COMMISSURE_WRITE_KEYS=1 build/release/src/deployment/deployment_test --gtest_filter='FileKeys.*FollowsFromTheTable' --gtest_brief=1

try-image: models
	@tools/link_test_models.sh
	@tools/try_image.sh "$(CURDIR)/build/test-models/SmolLM2-135M-Instruct.Q4_1.gguf"
	@tools/try_image.sh --baked "$(CURDIR)/build/test-models/SmolLM2-135M-Instruct.Q4_1.gguf" localhost/commissure

package: build
	@tools/install_packages.sh package
	@cmake --build --preset release --target package_files
	@rm -rf build/packages && cd build/release && cpack -B "$(CURDIR)/build/packages" >cpack.log 2>&1 || { cat cpack.log; exit 1; }
	@rm -rf build/packages/_CPack_Packages && cd build/packages && sha256sum *.deb >SHA256SUMS && ls -l

bench: build
	@bench/run.sh

down:
	@./commissure down

tf-init:
	@$(TF) init

# What an image needs: repository, bucket (a model that is to be baked must lie in it by then) and the account that may use them.
cloud-base:
	@$(TF) apply -target=google_artifact_registry_repository_iam_member.build -target=google_storage_bucket_iam_member.build \
	  -target=google_project_iam_member.build_logs

build-cloud: cloud-base
	@gcloud builds submit . --config="$(call TF_VALUE,local.build.config)" --project="$(call TF_VALUE,var.project)" --region="$(call TF_VALUE,var.region)" \
	  --substitutions="$(call TF_VALUE,local.build.substitutions)" \
	  --service-account="projects/$(call TF_VALUE,var.project)/serviceAccounts/$(call TF_VALUE,var.name)-build@$(call TF_VALUE,var.project).iam.gserviceaccount.com" \
	  --gcs-source-staging-dir="gs://$(call TF_VALUE,local.bucket)/source" --gcs-log-dir="gs://$(call TF_VALUE,local.bucket)/logs"

deploy:
	@[ "$(call TF_VALUE,local.has_key)" != true ] || deploy/terraform/add_key.sh "$(call TF_VALUE,var.name)-api-key" "$(call TF_VALUE,var.project)"
	@$(TF) apply

smoke-test:
	@deploy/terraform/smoke_test.sh "$$($(TF) output -raw url)"

clean:
	rm -rf build
