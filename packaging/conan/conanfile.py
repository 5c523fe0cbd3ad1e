import os
import re

from conan import ConanFile
from conan.errors import ConanException
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, load
from conan.tools.layout import basic_layout

required_conan_version = ">=2.0"


class SoftmaxConan(ConanFile):
    """Packages the headers of this checkout: conan create packaging/conan -s compiler.cppstd=20"""

    name = "softmax"
    description = "Softmax, log-softmax, logsumexp and cross-entropy for C++20, header-only"
    license = "MIT"
    topics = ("logsumexp", "cross-entropy", "temperature", "simd", "machine-learning", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    no_copy_source = True

    @property
    def _checkout(self):
        return os.path.join(self.recipe_folder, os.pardir, os.pardir)

    def set_version(self):
        # The version stands once, in the header.
        config = load(self, os.path.join(self._checkout, "include", "softmax", "detail", "config.hpp"))
        parts = re.findall(r"^#define SMX_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$", config, re.MULTILINE)
        if len(parts) != 3:
            raise ConanException("config.hpp does not define the three SMX_VERSION macros")
        self.version = ".".join(parts)

    # A method: the attribute exports_sources cannot name what is above the recipe.
    def export_sources(self):
        copy(self, "LICENSE", self._checkout, self.export_sources_folder)
        copy(self, "include/*.hpp", self._checkout, self.export_sources_folder)

    def layout(self):
        basic_layout(self)

    def package_id(self):
        self.info.clear()

    def validate(self):
        check_min_cppstd(self, 20)

    def build(self):
        pass

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "include/*.hpp", self.source_folder, self.package_folder)

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "softmax")
        self.cpp_info.set_property("cmake_target_name", "softmax::softmax")
        self.cpp_info.set_property("pkg_config_name", "softmax")
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
