# make demo    fits the examples                 make lint    format, static analysis, types
# make test    runs the tests                    make asan    the tests under the sanitizers
# make test-fast   the fast Python tests           make test-weekly   Python tests of more problems of the same kinds
# make bench   runs the benchmarks              make tsan    the C++ tests of threads under ThreadSanitizer
# make format  formats C++ and Python          make fuzz    calls and graphs of any kind, for SECONDS
# make docs    builds the site, docs/_build/html   make clean   removes what the others made
#
# Everything happens in .venv, which the first target that needs it creates.

MAKEFLAGS += --no-print-directory
PYTHON ?= python3
VENV ?= .venv
CXX ?= c++
JOBS ?= $(shell nproc)
# How the C++ tests are built, see CMakePresets.json; "asan" is the build that `make asan` makes anyway.
CPP_PRESET ?= dev
SECONDS ?= 120
# The Python tests that use each binding and each way of solving: directly, by functions and by machine code, again and
# again, in threads, with errors. Under the sanitizers all is slower, and an allocator of their own keeps memory.
ASAN_TESTS ?= $(filter-out %/test_quadratic_program.py,$(wildcard tests/native/*.py)) -m 'not (resident_memory or weekly)' \
  $(patsubst %,tests/%.py,api/test_minimize api/test_minimizer api/test_faults solve/test_slsqp solve/test_threads) \
  tests/native/test_quadratic_program.py::test_solver_that_has_been_used_gives_the_same_answers

# TensorFlow's notes, such as that there is no GPU, would hide what is said here. Those of its start ignore the level.
export TF_CPP_MIN_LOG_LEVEL ?= 3

bin := $(VENV)/bin
cmake := $(bin)/cmake
ctest := $(bin)/ctest
sources := $(shell find CMakeLists.txt cmake cpp python -type f -not -name '*.pyc' -not -path 'cpp/tests/*')
cpp_files := $(shell find cpp -name '*.cc' -o -name '*.h')
has_googletest := $(shell echo '\#include <gtest/gtest.h>' | $(CXX) -E -x c++ - >/dev/null 2>&1 && echo yes)

# Python tests in a process for each core; a file stays in one process, which makes once what its tests share.
pytest := $(bin)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-fast test-weekly test-aarch64 test-python test-cpp lint lint-cpp lint-python fuzz tsan asan asan-cpp asan-python format bench docs clean

demo: $(VENV)/.installed
	$(bin)/python examples/digits.py
	$(bin)/python examples/scipy_optimizer_interface.py
	$(bin)/python examples/keras_fit.py
	$(bin)/python examples/burgers_session.py
	$(bin)/python examples/burgers_keras.py
	$(bin)/python examples/pinn_burgers.py
	$(bin)/python examples/math_minimize.py
	$(bin)/python examples/tuning.py
	$(bin)/python examples/large_data.py

test: test-cpp test-python

test-python: $(VENV)/.development
	$(pytest) -m 'not weekly'

test-fast: $(VENV)/.development
	$(pytest) -m 'not (slow or parity or subprocess or resident_memory or weekly)'

test-weekly: $(VENV)/.development
	$(pytest) -m weekly

test-cpp: $(VENV)/.requirements
ifeq ($(has_googletest),yes)
	$(cmake) --preset $(CPP_PRESET) -DPython_EXECUTABLE=$(abspath $(bin))/python $(if $(CI),,-DTFMINIMIZE_WERROR=OFF)
	$(cmake) --build --preset $(CPP_PRESET) --parallel $(JOBS)
	$(ctest) --preset $(CPP_PRESET)
else
	@echo "GoogleTest is not installed (Debian: libgtest-dev libgmock-dev), so the C++ tests are not run."
endif

# The same on 64-bit ARM, in qemu-user and without TensorFlow. The tests of the solvers record checksums of the bits that
# they compute, and both processors must have the same.
test-aarch64: test-cpp
	$(cmake) --preset aarch64 -DPython_EXECUTABLE=$(abspath $(bin))/python $(if $(CI),,-DTFMINIMIZE_WERROR=OFF)
	$(cmake) --build --preset aarch64 --parallel $(JOBS)
	$(ctest) --preset aarch64
	for preset in $(CPP_PRESET) aarch64; do \
	  grep -o 'name="bits" value="[0-9]*"' build/$$preset/solvers.xml | sort -u > build/$$preset/bits.txt; \
	done
	test -s build/aarch64/bits.txt && diff build/$(CPP_PRESET)/bits.txt build/aarch64/bits.txt

# Half of the time for the public interface, half for the operation. SEED=N repeats a run, INPUTS=N ends it early.
fuzz: $(VENV)/.development
	$(bin)/python tests/fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(INPUTS),--inputs $(INPUTS))

asan: asan-cpp asan-python

# Solves in many threads at once. TensorFlow is not built for this sanitizer, so only what needs no TensorFlow.
tsan: $(VENV)/.requirements
	$(cmake) --preset tsan -DPython_EXECUTABLE=$(abspath $(bin))/python
	$(cmake) --build --preset tsan --parallel $(JOBS)
	$(ctest) --preset tsan

asan-cpp:
	$(MAKE) test-cpp CPP_PRESET=asan

# The interpreter is not built for the sanitizers, so their libraries are loaded before it. Python and TensorFlow keep
# memory until the process ends: leaks are looked for in the C++ tests. What links to TensorFlow takes no sanitizer, so it
# is that of the package.
asan-python: $(VENV)/.development
	test -e build/asan/CMakeCache.txt || $(MAKE) asan-cpp
	$(cmake) --build --preset asan --parallel $(JOBS) --target _native
	rm -rf build/asan/site
	mkdir -p build/asan/site
	cp -r python/tfminimize build/asan/site
	cp build/asan/_native*.so build/asan/_build_info.json $(VENV)/lib/python3*/site-packages/tfminimize/_xla*.so \
	  build/asan/site/tfminimize
	LD_PRELOAD="$(foreach name,libasan.so libubsan.so libstdc++.so,$(shell $(CXX) -print-file-name=$(name)))" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH=build/asan/site \
	$(pytest) $(ASAN_TESTS)

lint: lint-cpp lint-python

# clang-tidy reads how each file is compiled from the dev build.
lint-cpp: $(VENV)/.development
	@$(bin)/clang-format --dry-run -Werror $(cpp_files)
	$(cmake) --preset dev -DPython_EXECUTABLE=$(abspath $(bin))/python
	$(bin)/python $(bin)/run-clang-tidy.py -clang-tidy-binary $(bin)/clang-tidy -quiet -p build/dev -j $(JOBS) '$(CURDIR)/cpp/.*'

lint-python: $(VENV)/.development
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy
	PYTHONPATH=python $(bin)/lint-imports

format: $(VENV)/.development
	@$(bin)/clang-format -i $(cpp_files)
	$(bin)/ruff format .

bench: $(VENV)/.development
	$(bin)/python benchmarks/overhead.py
	$(bin)/python benchmarks/evaluation.py
	$(bin)/python benchmarks/real_work.py
	$(bin)/python benchmarks/batch.py
	$(bin)/python benchmarks/acquisition.py
	$(bin)/python benchmarks/inner_loop.py
	$(bin)/python benchmarks/fit.py
	$(bin)/python benchmarks/fit.py --keras
	$(bin)/python benchmarks/solver.py
	$(bin)/python benchmarks/slsqp.py
	$(bin)/python benchmarks/pinn.py
	$(bin)/python benchmarks/bfgs.py
	$(bin)/python benchmarks/scipy_hands.py
	$(bin)/python benchmarks/interface.py
	$(bin)/python benchmarks/in_graph.py

# Runs the examples of the gallery; a warning is an error.
docs: $(VENV)/.development
	$(bin)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html."

clean:
	rm -rf $(VENV) build dist docs/_build docs/gallery docs/reference/generated .mypy_cache .pytest_cache .ruff_cache .hypothesis .nox .import_linter_cache

# TensorFlow is large: it is installed once, and the package is built against that very copy, without build isolation.
$(VENV)/.requirements: pyproject.toml
	test -x $(bin)/python || $(PYTHON) -m venv $(VENV)
	$(bin)/python -c "import ast, re; print(*ast.literal_eval(re.search(r'^requires = (.*)$$', open('pyproject.toml').read(), re.M)[1]), 'cmake>=3.22', 'ninja', sep='\n')" > $@.txt
	@echo "Installing TensorFlow and the build tools into $(VENV): a minute or two, once."
	$(bin)/python -m pip install --quiet --requirement $@.txt
	$(bin)/python -c "from scikit_build_core.build import get_requires_for_build_wheel; print(*get_requires_for_build_wheel(), sep='\n')" > $@.txt
	$(bin)/python -m pip install --quiet --requirement $@.txt
	touch $@

$(VENV)/.installed: $(VENV)/.requirements $(sources)
	@echo "Building and installing tfminimize."
	$(bin)/python -m pip install --quiet --no-build-isolation '.[examples]'
	touch $@

# The package is there, so this only adds what its extras name; and GPflow, which would bring back NumPy 1 if asked.
$(VENV)/.development: $(VENV)/.installed
	$(bin)/python -m pip install --quiet 'tfminimize[dev]'
	$(bin)/python -m pip install --quiet --no-deps 'gpflow>=2.11'
	touch $@
