// Command crdcheck holds CRDs against the validation of Kubernetes' own API server: structural schemas, CEL rules
// compiled with their types, and what the rules may cost. `make test-crds` runs it.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	problems, err := check(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || problems > 0 {
		os.Exit(1)
	}
}

// check prints every problem in the file, and tells how many there are.
func check(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	problems := 0
	for {
		var crd v1.CustomResourceDefinition
		if err := decoder.Decode(&crd); errors.Is(err, io.EOF) {
			return problems, nil
		} else if err != nil {
			return problems, err
		}
		v1.SetDefaults_CustomResourceDefinition(&crd)
		v1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
		for _, version := range crd.Spec.Versions {
			if version.Storage {
				crd.Status.StoredVersions = []string{version.Name}
			}
		}
		var internal apiextensions.CustomResourceDefinition
		err := v1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&crd, &internal, nil)
		if err != nil {
			return problems, err
		}
		found := validation.ValidateCustomResourceDefinition(context.Background(), &internal)
		fmt.Printf("%s: %d problems\n", crd.Name, len(found))
		for _, problem := range found {
			fmt.Println(" ", problem)
		}
		problems += len(found)
	}
}
