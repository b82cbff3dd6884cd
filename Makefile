# Every target is one python process that runs what it needs; `make` alone prints this help.
# Stage names are folder names, hence .PHONY: without it make would call them up to date.
.PHONY: help data unpack crop equalize audit backbones extract heads sweep finetune tune report gradcam predict export status prune pack archive forget verify test bench lint lock clean
.DEFAULT_GOAL := help
PYTHON ?= python3
READY := .venv/ready
PY := .venv/bin/python

# What each command takes.
data.options := DATA NAME ROOT TRAIN_CSV VALID_CSV TEST_CSV CLASSES LABELS GROUP BAD_IMAGES LEAKS REHASH
unpack.options := SOURCE OUT FRAMES COLUMNS LABELS CLASSES
crop.options := $(data.options) OUT FACES MARGIN SIZE ALIGN LEAST
equalize.options := $(data.options) OUT SIZE QUALITY
extract.options := $(data.options) BACKBONE FEATURES WEIGHTS SIZE CROP_ONLY VIEWS AUGMENT COMPUTE STORED ENGINE DEVICE PART CLUSTER PARTS CORES BATCH WORKERS SHARD_MB
heads.options := $(extract.options) GRID FOLDS SEEDS HEAD_EPOCHS HEAD_BATCH INPUTS ONE_SE MEAN_VIEWS MEMORY CHOOSE
finetune.options := $(heads.options) RECIPE EPOCHS SEED HEAD CHECKPOINT SAVE_EVERY KEEP_EVERY LOG_IMAGES AUTO_ACCUMULATE TRACKER UNSEEN SMOKE GPUS
tune.options := $(filter-out GPUS UNSEEN,$(finetune.options)) TRIALS STORAGE
report.options := $(heads.options) EVAL PERTURB FACES NUM_SAMPLES
audit.options := $(data.options) FACES
gradcam.options := RUN DATA NUM_SAMPLES TARGET SPLIT METHOD DEVICE
predict.options := IMAGES RUN DATA OUT FACES ENGINE DEVICE BATCH THRESHOLD HEAT_MAPS COPIES
export.options := RUN DATA OUT OPSET
status.options := ALL
prune.options := YES DAYS
pack.options := RUN OUT
archive.options := RUN TO REMOVE
forget.options := IMAGE YES
sweep.options := $(heads.options)
backbones.options :=
test.options := ARGS
# What every command reads from its environment: where things are kept, and modules that add to its registries.
EVERYWHERE := CACHE_DIR DATA_DIR RUNS_DIR PLUGINS
OPTIONS := $(sort $(unpack.options) $(crop.options) $(equalize.options) $(audit.options) $(finetune.options) $(tune.options) \
  $(report.options) $(gradcam.options) $(predict.options) $(export.options) $(status.options) $(prune.options) \
  $(pack.options) $(archive.options) $(forget.options))

given := $(filter-out MAKEFLAGS MAKEOVERRIDES,$(foreach v,$(.VARIABLES),$(if $(filter command line,$(origin $(v))),$(v))))
# Their text is taken as it is: a $ in a path or a pattern is no variable of make's, and $(shell ...) in one never runs.
$(foreach v,$(filter-out ARGS PYTHON,$(given)),$(eval override $(v) := $$(value $(v))))
define newline


endef
$(foreach v,$(given),$(if $(findstring $(newline),$(value $(v))),$(error $(v) holds a line break, which make would take for a second command)))

quoted = '$(subst ','\'',$(1))'
near = $(shell $(PYTHON) -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1].upper(), sys.argv[2:], 1))' $(call quoted,$(1)) $(2))
taken := $(foreach goal,$(MAKECMDGOALS),$($(goal).options))
known := $(or $(sort $(taken)),$(OPTIONS)) $(EVERYWHERE)
unknown := $(filter-out $(OPTIONS) $(EVERYWHERE) ARGS PYTHON,$(given))
$(if $(unknown),$(error unknown: $(unknown)$(foreach u,$(unknown),$(foreach n,$(or $(call near,$(u),$(known)),$(call near,$(u),$(OPTIONS))), (did you mean $(n)?))). Known: $(known)))
idle := $(filter-out $(taken) $(EVERYWHERE) PYTHON,$(given))
$(if $(and $(MAKECMDGOALS),$(idle)),$(error make $(MAKECMDGOALS) takes no $(idle). It takes: $(or $(sort $(taken)),no options)))
# Only what stands on make's command line counts: an environment variable called DATA may be somebody else's.
# It is named, because it may also be the user's. NAME is not: some systems set it for everybody.
elsewhere := $(foreach v,$(filter-out NAME,$(sort $(taken))),$(if $(filter environment,$(origin $(v))),$(v)))
$(foreach v,$(elsewhere),$(warning $(v) in the environment is not used; to use it: make $(MAKECMDGOALS) $(v)=...))

lower = $(shell echo $(1) | tr A-Z a-z)
# Every variable that a command takes becomes its flag: DATA=faces -> --data='faces'. GPUS says how it is started.
flags = $(foreach v,$(filter-out GPUS,$(filter $(given),$($(1).options))),--$(call lower,$(v))=$(call quoted,$(value $(v))))
ifneq ($(filter $(EVERYWHERE),$(given)),)
export $(EVERYWHERE)
endif

help: ## this help
	@grep -hE '^[a-z ]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z ]+):.*## /  make \1|/' | column -t -s '|'
	@echo
	@echo "Options: make extract heads report DATA=path BACKBONE=\"resnet18 cvt_13\" ... ; every stage lists its own:"
	@echo "  $(PY) -m extract --help        (data, extract, heads, finetune, analysis)"
	@echo "PLUGINS=\"my_family my_metric\" before or behind any of them imports your modules, which may add to its registries."

data: $(READY) ## DATA=path: manifest and audit
	@$(PY) -m data $(call flags,$@)

unpack: $(READY) ## SOURCE=files-or-folders OUT=faces FRAMES=16: images and a manifest out of Parquet, tar and videos
	@$(PY) -m data.unpack $(call flags,$@)

crop: $(READY) ## DATA=photos OUT=faces FACES=all: the faces of a data set, cut out, as one of their own
	@$(PY) -m data.crop $(call flags,$@)

equalize: $(READY) ## DATA= OUT= SIZE=256 QUALITY=90: both classes stored alike, against shortcuts
	@$(PY) -m data.equalize $(call flags,$@)

audit: $(READY) ## DATA="a b c": near copies, shortcuts, doubtful labels, and what the sets share
	@$(PY) -m analysis.audit $(call flags,$@)

backbones: $(READY) ## the backbones that are written down: weights at hand, input, licence, features
	@$(PY) -m extract.networks

extract: $(READY) ## DATA= BACKBONE= FEATURES= WEIGHTS= VIEWS= PART=0/2 CLUSTER=auto: fill the feature cache
	@$(PY) -m extract $(call flags,$@)

heads sweep: $(READY) ## the same and GRID=grid.json FOLDS=5 SEEDS=3: train heads on the cache
	@$(PY) -m heads $(call flags,$@)

finetune: $(READY) ## the same and RECIPE=name EPOCHS=5 GPUS=4: train a detector end to end from the chosen head
	@$(if $(GPUS),.venv/bin/torchrun --standalone --nproc_per_node=$(call quoted,$(value GPUS)),$(PY)) -m finetune $(call flags,$@)

tune: $(READY) ## the same and TRIALS=30: search a recipe's settings, finish the best
	@$(PY) -m finetune.tune $(call flags,$@)

report: $(READY) ## all of it and EVAL="other another": the page runs/report/<dataset>/index.html
	@$(PY) -m analysis $(call flags,$@)

gradcam: $(READY) ## RUN= NUM_SAMPLES=20 TARGET=fake: heat maps of a run (default: the best), and their checks
	@$(PY) -m analysis.gradcam $(call flags,$@)

predict: $(READY) ## IMAGES=folder-or-files RUN=: scores, probabilities and decisions for new images
	@$(PY) -m analysis.predict $(call flags,$@)

export: $(READY) ## RUN=: ONNX with its preprocess and a model card
	@$(PY) -m analysis.export $(call flags,$@)

status: $(READY) ## data sets, features and runs: how large, what they reached, what a rerun would do
	@$(PY) -m analysis.house.status $(call flags,$@)

prune: $(READY) ## what nobody needs any more: listed, and deleted after a yes (YES=1)
	@$(PY) -m analysis.house.prune $(call flags,$@)

pack: $(READY) ## RUN= OUT=file: a run, or an extraction with its features, as one checked file
	@$(PY) -m analysis.house.pack $(call flags,$@)

archive: $(READY) ## RUN= TO=folder-or-URL REMOVE=1: the same into another place, read back from there
	@$(PY) -m analysis.house.archive $(call flags,$@)

forget: $(READY) ## IMAGE=path-or-sha256: every trace of an image, listed, and removed after a yes (YES=1)
	@$(PY) -m analysis.house.forget $(call flags,$@)

verify: $(READY) ## every shard, every checksum
	@$(PY) -m cache

test: $(READY) ## the tests (ARGS="-k name" for some)
	@$(PY) -m pytest -n 2 --dist worksteal $(ARGS)

bench: $(READY) ## speed, side by side with what people use today
	@$(PY) -m tests.bench.start
	@$(PY) -m tests.bench.manifest
	@$(PY) -m tests.bench.million
	@$(PY) -m tests.bench.chain
	@$(PY) -m tests.bench.duplicates
	@$(PY) -m tests.bench.store
	@$(PY) -m tests.bench.extraction
	@$(PY) -m tests.bench.peers
	@$(PY) -m tests.bench.cluster
	@$(PY) -m tests.bench.stream
	@$(PY) -m tests.bench.heads
	@$(PY) -m tests.bench.convex
	@$(PY) -m tests.bench.memory
	@$(PY) -m tests.bench.folds
	@$(PY) -m tests.bench.finetune

lint: $(READY) ## style
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

lock: $(READY) ## pin the newest versions that pyproject.toml allows in requirements.txt (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade --no-emit-index-url --custom-compile-command "make lock" -o requirements.txt

clean: ## the environment and converted networks; features, manifests and runs stay
	rm -rf .venv "$${CACHE_DIR:-cache}/engines"

# The stamp comes last, so that an interrupted installation is begun anew and never used.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, found " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	@echo "setting up .venv (once, about 6 GB with torch)"
	@$(PYTHON) -m venv --clear .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $(READY)
