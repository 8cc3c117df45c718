{
  "targets": [{
    "target_name": "prudent",
    "type": "none",
    "actions": [{
      "action_name": "cmake",
      "inputs": ["CMakeLists.txt"], "outputs": ["build/cmake/Release/prudent.node"],
      "action": ["node", "node_modules/cmake-js/bin/cmake-js", "compile", "--out", "build/cmake"]
    }]
  }]
}
