# Two commands are for newcomers: "make run" and "make test".

PYTHON = /usr/bin/python3
PORT = 8080
SUITES = bookworm trixie
TESTS = tests
SECONDS = 600
TARGET =
RUN_PYTHON = PYTHONPATH="$(CURDIR)" .venv/run/bin/python

export PYTHON

.DEFAULT_GOAL = help
.PHONY: help run test lint demo bench attack chaos fuzz coverage bareroot deb \
	test-deb test-image test-trixie clean distclean

help:
	@echo 'make run [PORT=8080]      install what is missing, serve the demo project'
	@echo 'make test [TESTS=tests]   install what the tests need, run linters and tests'
	@echo 'make lint                 ruff and mypy only'
	@echo 'make demo                 make the demo project in conf/demo again'
	@echo 'make bench [ARGS=--help]   the benchmarks'
	@echo 'make attack [ARGS=…]       what others notice of attackers'
	@echo 'make chaos [ARGS=…]        kill things under load, for long (ARGS=--help)'
	@echo 'make fuzz [TARGET=…]       look for inputs that break readers (SECONDS=600 each)'
	@echo 'make coverage             write docs/coverage.md: which algorithms are there'
	@echo 'make bareroot             prove run and test on a new Debian (root, some GB)'
	@echo 'make deb                  the Debian packages, into dist/'
	@echo 'make test-deb [SUITES=…]   build, install, upgrade and remove them in new Debians'
	@echo 'make test-image            run what the Dockerfile says, without Docker (root)'
	@echo 'make test-trixie          all tests in a new Debian 13 (TESTS= for some)'
	@echo 'make clean                remove what runs and tests leave; distclean: all'

run:
	@tools/install run
	@exec tools/run "$(PORT)"

test:
	@tools/install test
	@$(RUN_PYTHON) tools/check.py $(TESTS)

lint:
	@tools/install test
	@$(RUN_PYTHON) tools/check.py --lint

demo:
	@tools/install run
	@QT_QPA_PLATFORM=offscreen $(RUN_PYTHON) conf/make_demo.py

chaos:
	@tools/install test
	@$(RUN_PYTHON) -m tests.system.reliability $(ARGS)

fuzz:
	@tools/install fuzz
	@$(RUN_PYTHON) -m tests.fuzz --seconds $(SECONDS) $(TARGET)

bench:
	@tools/install test
	@$(RUN_PYTHON) -m benchmarks.roundtrip $(ARGS)
	@$(RUN_PYTHON) -m benchmarks.status $(ARGS)
	@$(RUN_PYTHON) -m benchmarks.projects $(ARGS)
	@$(RUN_PYTHON) -m benchmarks.maps $(ARGS)
	@$(RUN_PYTHON) -m benchmarks.figures $(ARGS)

attack:
	@tools/install test
	@$(RUN_PYTHON) -m benchmarks.attack $(ARGS)

coverage:
	@tools/install test
	@$(RUN_PYTHON) -m tests.system.coverage --output docs/coverage.md

bareroot:
	@tools/bareroot

deb:
	@tools/deb

test-deb:
	@$(PYTHON) tools/testdeb.py $(SUITES)

test-image:
	@$(PYTHON) tools/testimage.py

# The types that mypy looks at are those of Debian 12's Twisted.
test-trixie:
	@SUITE=trixie tools/bareroot $(BAREROOT) sh -c 'tools/install test && \
		PYTHONPATH=. .venv/run/bin/python tools/check.py --tests $(TESTS)'

clean:
	rm -rf run build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean
	rm -rf .venv
