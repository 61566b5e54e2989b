# SPDX-License-Identifier: MIT
#
# make             build the programs and the applications into build/release/
# make run         install what is missing, build, start the demo  (PORT=8080 APP=…/chat.so)
# make test        install what is missing, build, run every suite; closes with the counts
# make check-X     one suite: lint unit process e2e browser crash; also check-fuzz, test-long
#
# Variables: CC CFLAGS LDFLAGS PREFIX DESTDIR; SAN=address,undefined or SAN=thread (a build
# of its own, in build/asan or build/tsan); WERROR=1; V=1 shows the commands.
# A folder without sources is fine: a program exists as soon as its main.c does.

VERSION := $(shell sed -n 's/^.define SIOLITE_VERSION "\(.*\)"/\1/p' core/base/cfg.h 2>/dev/null)
PREFIX ?= /usr/local
PORT ?=
APP ?=
FUZZ_SECONDS ?= 60

MODE := $(if $(SAN),$(if $(findstring thread,$(SAN)),tsan,asan),release)
B := build/$(MODE)
GEN := $(B)/gen

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@echo "  $(1)	$(2)")

# ---- flags ----

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum \
        -Wvla -Wformat=2 -Wundef $(if $(filter 1,$(WERROR)),-Werror)
INC := -I. -I$(GEN)
BASE := -std=c11 -D_GNU_SOURCE -O2 -g -pthread
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer)
ALL_CFLAGS = $(BASE) $(WARN) $(INC) $(SANFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pthread -rdynamic $(SANFLAGS) $(LDFLAGS)

# The libraries of a folder (pkg-config names), as in tests/lint/layers.txt. They are looked
# up when a command runs, not when this file is read: `make run` may install them first.
PKG_store := sqlite3
PKG_store/ctl := jansson libcurl sqlite3
PKG_core/app := jansson
PKG_core/engine := jansson libuv
PKG_core/hook := jansson libcrypto libcurl libuv
PKG_fcgi := libuv zlib
PKG_ws := libuv libwebsockets openssl zlib
PKG_tests/unit := cmocka jansson libuv sqlite3
PKG_tests/fuzz := jansson libuv sqlite3
PKG_tests/bench := libuv libwebsockets sqlite3 zlib
PKG_docs/examples := jansson
PKG_tests/apps := jansson
pkg_cflags = $(if $(1),$(shell pkg-config --cflags $(1)))
pkg_libs = $(if $(1),$(shell pkg-config --libs $(1)))
dir_pkgs = $(PKG_$(patsubst %/,%,$(dir $(1))))

# ---- sources ----

LIB_DIRS := core/base core/eio core/sio core/app core/engine store
LIB_SRC := $(foreach d,$(LIB_DIRS),$(sort $(wildcard $(d)/*.c)))
FCGI_SRC := $(sort $(wildcard fcgi/*.c))
WS_SRC := $(sort $(wildcard ws/*.c))
HOOK_SRC := $(sort $(wildcard core/hook/*.c))
CTL_SRC := $(sort $(wildcard store/ctl/*.c))
APP_SRC := $(if $(wildcard core/app/app.h),$(sort $(wildcard docs/examples/*.c tests/apps/*.c)))
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
BENCH_SRC := $(sort $(wildcard tests/bench/*.c))
ALL_SRC := docs/man/options.c $(LIB_SRC) $(FCGI_SRC) $(WS_SRC) $(HOOK_SRC) $(CTL_SRC) $(UNIT_SRC) $(FUZZ_SRC) $(BENCH_SRC) $(APP_SRC)

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
LIB_OBJ := $(call obj,$(LIB_SRC))
# What tests link: a main.c stays out.
FCGI_OBJ := $(call obj,$(FCGI_SRC))
WS_OBJ := $(call obj,$(WS_SRC))
no_main = $(filter-out %/main.o,$(1))

PROGRAMS := $(if $(wildcard fcgi/main.c),$(B)/siolite.fcgi $(B)/siolite.cgi) \
            $(if $(wildcard ws/main.c),$(B)/siolite-ws) \
            $(if $(wildcard core/hook/main.c),$(B)/siolite-hook) \
            $(if $(CTL_SRC),$(B)/siolite)
APPS := $(patsubst %.c,$(B)/apps/%.so,$(notdir $(APP_SRC)))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SRC))
BENCH_TOOLS := $(patsubst tests/bench/%.c,$(B)/bench/%,$(filter-out tests/bench/load_%,$(BENCH_SRC)))
FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(FUZZ_SRC))

MAN_IN := $(sort $(wildcard docs/man/*.[1-8]))
MAN := $(patsubst docs/man/%,$(B)/man/%,$(MAN_IN)) $(B)/man/siolite.conf.5 $(B)/man/siolite-sql.7

GENERATED := $(if $(wildcard core/app/app.h),$(GEN)/siolite/app.h) \
             $(if $(wildcard schema/statements.awk),$(GEN)/store_statements.h) \
             $(if $(wildcard schema/schema.awk),$(GEN)/store_schema.h) \
             $(if $(wildcard store/ctl/conf),$(GEN)/ctl_conf.h)

.PHONY: all deb run run-conformance test test-long bench bench-quick install uninstall dist clean \
        format compile_commands.json setup-run setup-test \
        check-lint check-unit check-process check-e2e check-browser check-crash check-package check-fuzz FORCE

all: $(PROGRAMS) $(APPS) $(MAN)

# Goals that install what they need have it done before anything is compiled.
SETUP := $(if $(filter test test-long bench bench-quick check-process check-e2e check-browser \
              check-crash check-package check-fuzz,$(MAKECMDGOALS)),setup-test,\
         $(if $(filter run run-conformance,$(MAKECMDGOALS)),setup-run))
setup-run setup-test setup-package: setup-%:
	@tests/setup.sh $*

# ---- manual pages ----

fill = mkdir -p $(@D) && awk -v mark=$(1) -v part=$(2) \
       '$$0 == mark { while ((getline line < part) > 0) print line; next } 1' $< >$@.new && mv $@.new $@

$(B)/man/%: docs/man/%
	$(Q)mkdir -p $(@D)
	$(Q)cp $< $@
$(B)/man/options: $(B)/obj/docs/man/options.o $(filter $(B)/obj/core/base/%,$(LIB_OBJ))
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^
$(B)/man/siolite.conf.5: docs/man/siolite.conf.5.in $(B)/man/options
	$(call say,MAN,$@)
	$(Q)$(B)/man/options >$(B)/man/options.part
	$(Q)$(call fill,@OPTIONS@,$(B)/man/options.part)
$(B)/man/siolite-sql.7: docs/man/siolite-sql.7.in docs/man/views.awk $(sort $(wildcard schema/views/*.sql)) \
                        $(wildcard schema/views)
	$(call say,MAN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)awk -f docs/man/views.awk $(filter %.sql,$^) >$(B)/man/views.part
	$(Q)$(call fill,@VIEWS@,$(B)/man/views.part)

# ---- stamps: a change of flags recompiles, a removed or added source links again ----

$(B)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(CC) $(ALL_CFLAGS) | $(ALL_LDFLAGS))' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
$(B)/sources: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(ALL_SRC) >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# ---- generated headers ----

$(GEN)/store_statements.h: schema/statements.awk $(sort $(wildcard schema/statements/*.sql)) \
                           $(wildcard schema/statements)
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)awk -f $< $(filter %.sql,$^) >$@.new && mv $@.new $@
$(GEN)/store_schema.h: schema/schema.awk $(sort $(wildcard schema/migrations/*.sql)) \
                       $(sort $(wildcard schema/views/*.sql)) $(wildcard schema/migrations schema/views)
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)awk -f $< $(filter %.sql,$^) >$@.new && mv $@.new $@
$(GEN)/ctl_conf.h: store/ctl/conf/conf.awk $(sort $(wildcard store/ctl/conf/*.in)) store/ctl/conf
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)awk -f $< $(filter %.in,$^) >$@.new && mv $@.new $@
$(GEN)/siolite/app.h: core/app/app.h
	$(Q)mkdir -p $(@D)
	$(Q)cp $< $@

# ---- objects, programs, applications ----

$(B)/obj/%.o: %.c $(B)/flags | $(SETUP) $(GENERATED)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(call pkg_cflags,$(call dir_pkgs,$<)) -MMD -MP -c -o $@ $<

LIB_PKGS := sqlite3 jansson libuv
link = mkdir -p $(@D) && $(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o %.a,$^) \
       $(call pkg_libs,$(LIB_PKGS) $(1)) $(2) -ldl -lm

# Plain objects, not an archive: an application may use an app_ verb that the program does not.
$(B)/siolite.fcgi: $(FCGI_OBJ) $(LIB_OBJ) $(B)/sources
	$(call say,LD,$@)
	$(Q)$(call link,zlib,-lfcgi)
$(B)/siolite.cgi: $(B)/siolite.fcgi
	$(Q)ln -sf siolite.fcgi $@
$(B)/siolite-ws: $(WS_OBJ) $(LIB_OBJ) $(B)/sources
	$(call say,LD,$@)
	$(Q)$(call link,libwebsockets openssl zlib)
$(B)/siolite-hook: $(call obj,$(HOOK_SRC)) $(LIB_OBJ) $(B)/sources
	$(call say,LD,$@)
	$(Q)$(call link,libcrypto libcurl)
$(B)/siolite: $(call obj,$(CTL_SRC)) $(LIB_OBJ) $(B)/sources
	$(call say,LD,$@)
	$(Q)$(call link,libcurl)

build_app = mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -fPIC -shared -MMD -MP -MF $(@:.so=.d) \
            $(call pkg_cflags,jansson) $(LDFLAGS) -o $@ $< $(call pkg_libs,jansson)
$(B)/apps/%.so: docs/examples/%.c $(B)/flags | $(SETUP) $(GENERATED)
	$(call say,APP,$@)
	$(Q)$(build_app)
$(B)/apps/%.so: tests/apps/%.c $(B)/flags | $(SETUP) $(GENERATED)
	$(call say,APP,$@)
	$(Q)$(build_app)

# ---- unit tests: archives, so that a test may include the one .c whose statics it tests ----

ar = rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)
$(B)/lib.a: $(LIB_OBJ) $(B)/sources
	$(Q)$(ar)
$(B)/lib-fcgi.a: $(call no_main,$(FCGI_OBJ)) $(B)/sources
	$(Q)$(ar)
$(B)/lib-ws.a: $(call no_main,$(WS_OBJ)) $(B)/sources
	$(Q)$(ar)

$(B)/lib-hook.a: $(call no_main,$(call obj,$(HOOK_SRC))) $(B)/sources
	$(Q)$(ar)

$(B)/unit/test_hook_%: $(B)/obj/tests/unit/test_hook_%.o $(B)/lib-hook.a $(B)/lib.a
	$(call say,LD,$@)
	$(Q)$(call link,cmocka libcrypto libcurl)
$(B)/unit/test_fcgi_%: $(B)/obj/tests/unit/test_fcgi_%.o $(B)/lib-fcgi.a $(B)/lib.a
	$(call say,LD,$@)
	$(Q)$(call link,cmocka zlib,-lfcgi)
$(B)/unit/test_ws_%: $(B)/obj/tests/unit/test_ws_%.o $(B)/lib-ws.a $(B)/lib.a
	$(call say,LD,$@)
	$(Q)$(call link,cmocka libwebsockets openssl zlib)
$(B)/unit/%: $(B)/obj/tests/unit/%.o $(B)/lib.a
	$(call say,LD,$@)
	$(Q)$(call link,cmocka)
$(B)/bench/%: $(B)/obj/tests/bench/%.o $(call obj,$(filter tests/bench/load_%,$(BENCH_SRC))) $(B)/lib.a
	$(call say,LD,$@)
	$(Q)$(call link,libwebsockets zlib)

# ---- fuzz targets: everything again by clang ----

FUZZ_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FUZZ_LIB := $(patsubst %.c,build/fuzz/obj/%.o,$(LIB_SRC) $(filter-out %/main.c,$(FCGI_SRC)))
build/fuzz/obj/%.o: %.c | $(SETUP) $(GENERATED)
	$(call say,CLANG,$<)
	$(Q)mkdir -p $(@D)
	$(Q)clang $(BASE) $(WARN) $(INC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(CFLAGS) \
	    $(call pkg_cflags,$(call dir_pkgs,$<)) -MMD -MP -c -o $@ $<
build/fuzz/lib.a: $(FUZZ_LIB)
	$(Q)$(ar)
build/fuzz/fuzz_%: build/fuzz/obj/tests/fuzz/fuzz_%.o build/fuzz/lib.a
	$(call say,LD,$@)
	$(Q)clang -pthread -rdynamic $(FUZZ_FLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ \
	    $(call pkg_libs,$(LIB_PKGS) zlib) -lfcgi -ldl -lm

# ---- run: the script ends when make does, however make ends ----

RUN_ENV = exec env --default-signal=INT PORT='$(PORT)' APP='$(APP)' SIOLITE_FLAGS='$(SIOLITE_FLAGS)' \
          setpriv --pdeathsig TERM
run: all setup-run
	@$(RUN_ENV) www/serve.sh $(B)
run-conformance: all setup-run
	@$(RUN_ENV) tests/apps/run-conformance.sh $(B)

# ---- tests: tests/check.sh runs suites by name, goes on after a failure, and counts ----

test: setup-test $(MAN) $(PROGRAMS) $(APPS) $(UNIT_TESTS) $(FUZZERS)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/check.sh $(B) lint unit process e2e browser crash package fuzz
test-long: setup-test $(MAN) $(PROGRAMS) $(APPS) $(UNIT_TESTS) $(FUZZERS)
	@SIOLITE_LONG=1 FUZZ_SECONDS=$(FUZZ_SECONDS) \
	    tests/check.sh $(B) lint unit process e2e browser crash package fuzz
check-lint: $(GENERATED) $(MAN)
	@tests/check.sh $(B) lint
check-unit: $(UNIT_TESTS) $(APPS)
	@tests/check.sh $(B) unit
check-process check-e2e check-browser check-crash check-package: check-%: $(PROGRAMS) $(APPS)
	@tests/check.sh $(B) $*
check-fuzz: $(FUZZERS)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/check.sh $(B) fuzz
bench bench-quick: $(PROGRAMS) $(APPS) $(BENCH_TOOLS)
	@BENCH_QUICK=$(if $(filter bench-quick,$@),1) tests/check.sh $(B) bench

# ---- install ----

D := $(DESTDIR)$(PREFIX)
# What serve_client serves; without the npm package it is left out.
CLIENT := build/npm/node_modules/socket.io-client
install: all
	install -d $(D)/bin $(D)/lib/siolite $(D)/include/siolite
	install -m 755 $(B)/siolite.fcgi $(D)/lib/siolite/siolite.fcgi
	ln -sf siolite.fcgi $(D)/lib/siolite/siolite.cgi
	install -m 755 $(B)/siolite-ws $(D)/bin/siolite-ws
	install -m 755 $(B)/siolite-hook $(D)/bin/siolite-hook
	$(if $(CTL_SRC),install -m 755 $(B)/siolite $(D)/bin/siolite)
	for m in $(MAN); do install -D -m 644 $$m $(D)/share/man/man$${m##*.}/$${m##*/} || exit 1; done
	install -d $(D)/share/bash-completion/completions
	$(B)/siolite completion >$(D)/share/bash-completion/completions/siolite
	install -m 644 core/app/app.h $(D)/include/siolite/app.h
	install -d $(D)/share/pkgconfig
	printf '%s\n' 'prefix=$(PREFIX)' 'Name: siolite' 'Description: a Socket.IO server; headers of its applications' \
	    'Version: $(VERSION)' 'Requires: jansson' 'Cflags: -I$${prefix}/include' >$(D)/share/pkgconfig/siolite.pc
	$(if $(wildcard $(CLIENT)/dist),install -d $(D)/share/siolite/client && \
	    install -m 644 $(CLIENT)/package.json $(CLIENT)/dist/*.js $(CLIENT)/dist/*.map $(wildcard $(CLIENT)/dist/*.br) \
	    $(D)/share/siolite/client)
uninstall:
	rm -f $(D)/bin/siolite-ws $(D)/bin/siolite-hook $(D)/bin/siolite
	for m in $(MAN); do rm -f $(D)/share/man/man$${m##*.}/$${m##*/}; done
	rm -f $(D)/share/bash-completion/completions/siolite
	rm -rf $(D)/lib/siolite $(D)/include/siolite $(D)/share/siolite $(D)/share/pkgconfig/siolite.pc
# For hosts without our libraries and without root: CGI and FastCGI as one static program, the others with their libraries.
DIST := build/siolite-$(VERSION)-$(shell uname -s | tr A-Z a-z)-$(shell uname -m).tar.gz
$(B)/static/siolite.fcgi: $(FCGI_OBJ) $(LIB_OBJ) $(B)/sources
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -static -pthread $(LDFLAGS) -o $@ $(filter %.o,$^) -lsqlite3 -ljansson -l:libuv_a.a -lfcgi -lz -lm
dist: setup-test all $(B)/static/siolite.fcgi
	docs/deploy/dist.sh $(B) $(VERSION) $(DIST)
	@echo $(DIST)

# The Debian packages, from the tree as it is, uncommitted changes too; docs/deploy/debian says what is in them.
DEB := build/deb/siolite-$(VERSION)
deb: setup-package
	rm -rf build/deb
	mkdir -p $(DEB)/$(dir $(CLIENT))
	tar -c --exclude=./build --exclude=./run --exclude=./.git . | tar -x -C $(DEB)
	$(if $(wildcard $(CLIENT)/dist),cp -r $(CLIENT) $(DEB)/$(dir $(CLIENT)))
	cp -r docs/deploy/debian $(DEB)/debian
	sed "s/@VERSION@/$(VERSION)/; s/@DATE@/$$(date -R)/" docs/deploy/debian/changelog.in >$(DEB)/debian/changelog
	rm $(DEB)/debian/changelog.in
	cd $(DEB) && env -u MAKEFLAGS -u MAKELEVEL -u B DEB_BUILD_OPTIONS="parallel=$$(nproc) noautodbgsym" dpkg-buildpackage -b -us -uc
	@ls build/deb/*.deb

# ---- chores ----

C_FILES = $(wildcard $(foreach d,$(LIB_DIRS) core/hook store/ctl fcgi ws docs/examples tests/apps \
              tests/unit tests/fuzz tests/bench,$(d)/*.c $(d)/*.h))
format:
	clang-format -i $(C_FILES)
# In build/, where clangd and clang-tidy -p build find it.
compile_commands.json: $(GENERATED)
	@mkdir -p build
	@{ printf '['; $(foreach s,$(ALL_SRC),printf '%s\n{"directory":"%s","file":"%s","arguments":[%s"-c","%s"]}' \
	    "$$sep" '$(CURDIR)' '$(s)' '$(foreach f,$(CC) $(ALL_CFLAGS) \
	    $(call pkg_cflags,$(call dir_pkgs,$(s))),"$(f)",)' '$(s)'; sep=,;) printf '\n]\n'; } >build/$@
	@echo build/$@
clean:
	rm -rf build/release build/asan build/tsan build/fuzz build/compile_commands.json

-include $(wildcard $(B)/obj/*/*.d $(B)/obj/*/*/*.d $(B)/apps/*.d build/fuzz/obj/*/*.d build/fuzz/obj/*/*/*.d)
